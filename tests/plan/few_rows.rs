//! What matmuls of few rows do besides.

use tachylite::ops::append::At;
use tachylite::ops::attention::Attention;
use tachylite::ops::rope::{Positions, Rope};
use tachylite::plan::{Determinism, Numerics, Plan, Policy, plan};
use tachylite::profile::Limits;
use tachylite::{DType, Dim, Graph, Profile, ValueId};

use crate::{kernels, ops};

/// Rows of x, and columns of each half.
#[derive(Clone, Copy)]
struct Size(u64, usize);

/// `down(silu(gate(x̂)) · up(x̂)) + x`, x̂ the normalised x, which is an output besides if `kept`.
fn feed_forward(Size(rows, n): Size, kept: bool) -> Graph {
    let mut g = Graph::new();
    let m = g.dim("M", rows).unwrap();
    let x = g.input("x", DType::F32, &[m, 256.into()]).unwrap();
    let y = network(&mut g, x, n, kept);
    g.output("y", y).unwrap();
    g
}

fn network(g: &mut Graph, x: ValueId, n: usize, kept: bool) -> ValueId {
    let k = g.value(x).shape.last().and_then(Dim::constant).unwrap() as usize;
    let normal = normed(g, x, "norm");
    let [gate, up] = ["gate", "up"].map(|name| project(g, normal, name, n));
    let gate = g.silu(gate).unwrap();
    let hidden = g.mul(gate, up).unwrap();
    let y = project(g, hidden, "down", k);
    if kept {
        g.output("normal", normal).unwrap();
    }
    g.add(y, x).unwrap()
}

fn normed(g: &mut Graph, x: ValueId, name: &str) -> ValueId {
    let k = g.value(x).shape.last().and_then(Dim::constant).unwrap() as usize;
    let gain = g.weight(name, DType::F32, &[k]).unwrap();
    g.rms_norm(x, gain, 1e-5).unwrap()
}

fn project(g: &mut Graph, x: ValueId, name: &str, n: usize) -> ValueId {
    let k = g.value(x).shape.last().and_then(Dim::constant).unwrap() as usize;
    let w = g.weight(name, DType::Q8_0, &[n, k]).unwrap();
    g.matmul(x, w).unwrap()
}

fn planned(g: &Graph, policy: &Policy) -> Plan {
    plan(g, &Profile::portable(), policy).unwrap()
}

#[test]
fn a_network_of_few_rows_is_two_steps() {
    let g = feed_forward(Size(4, 512), false);
    let p = planned(&g, &Policy::default());
    assert_eq!(kernels(&p)[0], "matmul.vector", "{}", p.explain(&g));
    assert_eq!(p.steps.len(), 2, "{}", p.explain(&g));
    assert_eq!(ops(&g, &p, 0), ["rms_norm", "matmul", "matmul", "silu", "mul"]);
    assert_eq!(ops(&g, &p, 1), ["matmul", "add"]);
    let of_pair: Vec<_> = p.weights[0].sources.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(of_pair, ["gate", "up"]);
    let refused = p.steps[0].candidates.iter().find(|c| c.kernel == "matmul.tile").unwrap();
    let why = refused.estimate.as_ref().unwrap_err();
    assert_eq!(why, "it does not normalise its input, which was joined with the step");
}

#[test]
fn steps_stay_apart_where_joining_would_take_something_away() {
    let of = |g: &Graph, policy: Policy| kernels(&planned(g, &policy)).len();
    let network = feed_forward(Size(4, 512), false);
    assert_eq!(of(&network, Policy::default()), 2);
    let invariant = Policy { determinism: Determinism::BatchInvariant, ..Policy::default() };
    assert_eq!(of(&network, invariant), 4);
    assert_eq!(of(&network, Policy { fuse: false, ..Policy::default() }), 7);
    let rounded = Policy { numerics: Numerics::Int8Activations, ..Policy::default() };
    assert!(of(&network, rounded) >= 4);
    let tile = Policy { kernel: Some("matmul.tile".into()), ..Policy::default() };
    assert_eq!(of(&network, tile), 4);
    // With more rows other kernels are faster; halves must be whole panels; and what is returned is made.
    assert_eq!(of(&feed_forward(Size(5, 512), false), Policy::default()), 4);
    assert_eq!(of(&feed_forward(Size(4, 544), false), Policy::default()), 4);
    assert_eq!(of(&feed_forward(Size(4, 512), true), Policy::default()), 3);
    // Both weights together would be more than a binding holds.
    let limits = Limits { storage_binding_bytes: 200_000, ..Profile::portable().limits };
    let narrow = Profile { limits, ..Profile::portable() };
    assert_eq!(plan(&network, &narrow, &Policy::default()).unwrap().steps.len(), 4);
}

/// A layer of Llama-3.2-1B: 32 heads of 64 over 8, as it decodes one token with 4095 before it.
fn layer() -> Graph {
    let (heads, of, d, width) = (32, 8, 64, 2048);
    let mut g = Graph::new();
    let at = g.dim("position", 4095).unwrap();
    let x = g.input("x", DType::F32, &[1.into(), 1.into(), width.into()]).unwrap();
    let caches = ["k", "v"]
        .map(|name| g.state(name, DType::F16, &[1.into(), 4096.into(), of.into(), d.into()]).unwrap());
    let lengths = g.input("lengths", DType::U32, &[1.into()]).unwrap();
    let rope = Rope::new(d, 5e5);
    let turns = g.weight("turns", DType::U32, &[d / 2, 3]).unwrap();
    let normal = normed(&mut g, x, "attention_norm");
    let [q, k, v] = [("wq", heads), ("wk", of), ("wv", of)].map(|(name, heads)| {
        let y = project(&mut g, normal, name, heads * d);
        g.reshape(y, &[1.into(), 1.into(), heads.into(), d.into()]).unwrap()
    });
    let [q, k] = [q, k].map(|x| g.rope(x, turns, &rope, Positions::From(at.clone())).unwrap());
    let place = At { start: at, ..At::default() };
    let (k, v) = g.append_both((caches[0], caches[1]), (k, v), place).unwrap();
    let how = Attention { lengths: Some(lengths), ..Attention::default() };
    let a = g.attention(q, k, v, how).unwrap();
    let a = g.reshape(a, &[1.into(), 1.into(), width.into()]).unwrap();
    let a = project(&mut g, a, "wo", width);
    let x = g.add(a, x).unwrap();
    let y = network(&mut g, x, 8192, false);
    g.output("y", y).unwrap();
    g
}

#[test]
fn a_layer_of_llama_decodes_in_few_dispatches() {
    let g = layer();
    for profile in [Profile::portable(), Profile::capable()] {
        let p = plan(&g, &profile, &Policy::default()).unwrap();
        let expected = [
            "matmul.vector",
            "rope.pairs",
            "rope.pairs",
            "append.rows",
            "attention.split_parts",
            "attention.split",
            "matmul.",
            "matmul.vector",
            "matmul.",
        ];
        let kernels = kernels(&p);
        let starts = kernels.iter().zip(expected).all(|(k, e)| k.starts_with(e));
        assert!(starts && kernels.len() == expected.len(), "{kernels:?}\n{}", p.explain(&g));
    }
}

//! States: changed where they lie, in order, and never read after that by a step that was meant to come before.

use tachylite::op::Unary;
use tachylite::ops::append::At;
use tachylite::ops::attention::{Attention, Reach};
use tachylite::ops::rope::Rope;
use tachylite::plan::{Policy, Role, plan};
use tachylite::{DType, Graph, Profile, ValueId};

use crate::{fixed, kernels, portable};

const ROW: [usize; 4] = [1, 1, 1, 8];

fn given(g: &mut Graph, name: &str) -> ValueId {
    g.input(name, DType::F32, &fixed(&ROW)).unwrap()
}

fn state(g: &mut Graph) -> ValueId {
    g.state("last", DType::F32, &fixed(&ROW)).unwrap()
}

fn said<T: std::fmt::Debug>(result: tachylite::Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_state_is_one_buffer_that_is_an_input_and_an_output() {
    let mut g = Graph::new();
    let (last, x) = (state(&mut g), given(&mut g, "x"));
    g.append(last, x, At::default()).unwrap();
    let p = portable(&g);
    let (input, output) = (&p.inputs[0], &p.outputs[0]);
    assert_eq!((&*input.name, &*output.name), ("last", "last"));
    assert_eq!(input.buffer, output.buffer);
    assert_eq!(p.buffers[input.buffer].role, Role::State(0));
    assert_eq!(p.buffers.len(), 2, "nothing is copied");
    p.check_references().unwrap();
}

#[test]
fn a_state_that_nothing_changes_is_an_input() {
    let mut g = Graph::new();
    let last = state(&mut g);
    let y = g.relu(last).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(p.buffers[p.inputs[0].buffer].role, Role::Input(0));
    assert_eq!(p.outputs.len(), 1);
}

#[test]
fn what_a_state_was_cannot_be_used_and_only_states_are_changed() {
    let mut g = Graph::new();
    let (last, x, other) = (state(&mut g), given(&mut g, "x"), given(&mut g, "other"));
    let view = g.slice(last, 3, 0, 4).unwrap();
    let now = g.append(last, x, At::default()).unwrap();
    let gone = "is what state `last` was before an op changed it: use what that op returned";
    assert_eq!(said(g.relu(last)), format!("relu: `x` {gone}"));
    assert_eq!(said(g.relu(view)), format!("relu: `x` {gone}"));
    assert_eq!(said(g.append(last, x, At::default())), format!("append: `k_cache` {gone}"));
    let none =
        "append: `k_cache` is changed where it lies, so it must be a state as a whole, but `other` is none";
    assert_eq!(said(g.append(other, x, At::default())), none);
    let twice = g.append_both((now, now), (x, x), At::default());
    assert_eq!(said(twice), "append: state `last` is given twice, but changed only once");
    g.output("view", view).unwrap();
    let refused = plan(&g, &Profile::portable(), &Policy::default());
    assert_eq!(said(refused), "plan: output `view` is what a state was before an op changed it");
}

#[test]
fn a_sum_with_a_state_does_not_wait_until_it_was_changed() {
    let joined = |changed: bool| {
        let mut g = Graph::new();
        let (last, x) = (state(&mut g), given(&mut g, "x"));
        let mixed = g.add(x, last).unwrap();
        if changed {
            let new = given(&mut g, "new");
            g.append(last, new, At::default()).unwrap();
        }
        let w = g.weight("w", DType::F32, &[8]).unwrap();
        let y = g.rms_norm(mixed, w, 1e-5).unwrap();
        g.output("y", y).unwrap();
        let p = portable(&g);
        kernels(&p).into_iter().map(|k| k.split('.').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(joined(false), ["rms_norm"]);
    assert_eq!(joined(true), ["elementwise", "append", "rms_norm"]);
}

#[test]
fn nor_does_a_producer_that_reads_one() {
    let mut g = Graph::new();
    let (last, x) = (state(&mut g), given(&mut g, "x"));
    let a = g.exp(last).unwrap();
    g.append(last, x, At::default()).unwrap();
    let y = g.relu(a).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(kernels(&p), ["elementwise.rows", "append.rows", "elementwise.rows"]);
}

/// A layer of a decoder as Llama has it, for the next token, with two heads of keys for four of queries. What
/// gates and what is gated are one expert's, whom all tokens go to: that is one kernel.
fn decoder_layer() -> Graph {
    const C: usize = 64;
    let mut g = Graph::new();
    let start = g.dim("start", 63).unwrap();
    let linear = |g: &mut Graph, x, name: &str, n: usize, k: usize| {
        let w = g.weight(name, DType::F32, &[n, k]).unwrap();
        g.matmul(x, w).unwrap()
    };
    let norm = |g: &mut Graph, x, name: &str| {
        let w = g.weight(name, DType::F32, &[C]).unwrap();
        g.rms_norm(x, w, 1e-5).unwrap()
    };
    let x = g.input("x", DType::F32, &fixed(&[1, 1, C])).unwrap();
    let normed = norm(&mut g, x, "attention.norm");
    let heads = |h: usize| fixed(&[1, 1, h, 16]);
    let qkv = [("q", 4), ("k", 2), ("v", 2)].map(|(name, h)| {
        let y = linear(&mut g, normed, name, 16 * h, C);
        g.reshape(y, &heads(h)).unwrap()
    });
    let caches = ["keys", "values"].map(|name| g.state(name, DType::F32, &fixed(&[1, 64, 2, 16])).unwrap());
    let rope = Rope::new(16, 1e4);
    let turns = rope.weight(&mut g, "turns").unwrap();
    let lengths = Some(g.input("lengths", DType::U32, &fixed(&[1])).unwrap());
    let at = At { start, ..At::default() };
    let (q, k, v) = g.rope_append(qkv.into(), caches.into(), (turns, &rope), at).unwrap();
    let how = Attention { lengths, causal: true, reach: Reach::Lengths, ..Attention::default() };
    let o = g.attention(q, k, v, how).unwrap();
    let o = g.reshape(o, &fixed(&[1, 1, C])).unwrap();
    let o = linear(&mut g, o, "o", C, C);
    let x = g.add(o, x).unwrap();
    let normed = norm(&mut g, x, "norm");
    let both = ["gate", "up"].map(|name| g.weight(name, DType::F32, &[1, 128, C]).unwrap());
    let ids = g.input("ids", DType::U32, &fixed(&[1, 1, 1])).unwrap();
    let up = g.gated_experts(normed, both.into(), ids, Unary::Silu).unwrap();
    let up = g.reshape(up, &fixed(&[1, 1, 128])).unwrap();
    let down = linear(&mut g, up, "down", C, 128);
    let y = g.add(down, x).unwrap();
    g.output("y", y).unwrap();
    g
}

#[test]
fn a_decoder_layer_is_at_most_eight_dispatches() {
    let g = decoder_layer();
    let p = portable(&g);
    let names: Vec<_> = kernels(&p).into_iter().map(|k| k.split('.').next().unwrap()).collect();
    let own = ["rope_append", "attention"];
    assert!(names.len() <= 8, "{}", p.explain(&g));
    assert_eq!(names.iter().filter(|n| own.contains(n)).collect::<Vec<_>>(), [&own[0], &own[1]]);
}

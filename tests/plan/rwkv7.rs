//! A layer of RWKV-7 as its ops: how many dispatches a token takes.

use tachylite::op::Unary;
use tachylite::ops::rwkv7::Rwkv7;
use tachylite::plan::{Policy, plan};
use tachylite::profile::{DeviceKind, Speeds};
use tachylite::{DType, Dim, Graph, Profile, ValueId};

use crate::{fixed, kernels};

/// The 0.4B model: width, head, low ranks filled up to the same, feed-forward.
const C: usize = 1024;
const D: usize = 64;
const LOW: usize = 128;
const F: usize = 4096;

/// A layer that is not the first, of `t` positions.
fn layer(t: &Dim) -> Graph {
    let mut g = Graph::new();
    let f16 = |g: &mut Graph, name: &str, shape: &[usize]| g.weight(name, DType::F16, shape).unwrap();
    let state =
        |g: &mut Graph, name: &str, shape: &[usize]| g.state(name, DType::F32, &fixed(shape)).unwrap();
    let rows = [Dim::ONE, t.clone(), C.into()];
    let heads = [Dim::ONE, t.clone(), (C / D).into(), D.into()];
    let mut x = g.input("x", DType::F32, &rows).unwrap();
    let first = g.input("first", DType::F32, &heads).unwrap();

    let norm = (f16(&mut g, "ln1.w", &[C]), f16(&mut g, "ln1.b", &[C]), 1e-5);
    let (mix, shift) = (f16(&mut g, "att.mix", &[6, C]), state(&mut g, "att.shift", &[1, C]));
    let (z, _) = g.token_shift(x, Some(norm), mix, shift).unwrap();
    // Mixes in the order r, k, v, w, a, g; the value's low rank reads what the value does.
    let slices = [
        (C, None),
        (C, None),
        (C + LOW, None),
        (LOW, Some(Unary::Tanh)),
        (LOW, None),
        (LOW, Some(Unary::Sigmoid)),
    ];
    let w = f16(&mut g, "att.in", &[3 * C + 4 * LOW, C]);
    let all = g.matmul_slices(z, w, &slices).unwrap();
    let rkv = g.slice(all, 2, 0, 3 * C).unwrap();
    let rkv = g.reshape(rkv, &[Dim::ONE, t.clone(), 3.into(), (C / D).into(), D.into()]).unwrap();
    let low = g.slice(all, 2, 3 * C, 4 * LOW).unwrap();
    let low = g.reshape(low, &[t.clone(), 4.into(), LOW.into()]).unwrap();
    let low = g.transpose(low, &[1, 0, 2]).unwrap();
    let w = f16(&mut g, "att.up", &[4, C, LOW]);
    let gates = g.matmul(low, w).unwrap();
    let gates = g.reshape(gates, &[&[4.into()], &heads[..]].concat()).unwrap();
    let vectors = f16(&mut g, "att.vectors", &[8, C / D, D]);
    let of = Rwkv7 { rkv, gates, vectors, first: Some(first), eps: 64e-5, norm_eps: 1e-12 };
    let s = state(&mut g, "att.state", &[1, C / D, D, D]);
    let (y, _) = g.rwkv7(of, s).unwrap();
    let y = g.reshape(y, &rows).unwrap();
    x = project(&mut g, y, "att.out", C, Some(x));

    let norm = (f16(&mut g, "ln2.w", &[C]), f16(&mut g, "ln2.b", &[C]), 1e-5);
    let (mix, shift) = (f16(&mut g, "ffn.mix", &[1, C]), state(&mut g, "ffn.shift", &[1, C]));
    let (z, _) = g.token_shift(x, Some(norm), mix, shift).unwrap();
    let z = g.reshape(z, &rows).unwrap();
    let k = project(&mut g, z, "ffn.key", F, None);
    let k = g.relu(k).unwrap();
    let k = g.square(k).unwrap();
    x = project(&mut g, k, "ffn.value", C, Some(x));
    g.output("y", x).unwrap();
    g
}

fn project(g: &mut Graph, x: ValueId, name: &str, n: usize, residual: Option<ValueId>) -> ValueId {
    let k = g.value(x).shape.last().and_then(Dim::constant).unwrap() as usize;
    let w = g.weight(name, DType::F16, &[n, k]).unwrap();
    let y = g.matmul(x, w).unwrap();
    residual.map_or(y, |x| g.add(x, y).unwrap())
}

#[test]
fn a_token_takes_a_layer_of_rwkv7_eight_dispatches() {
    let graph = layer(&Dim::ONE);
    let of = |kind, profile| Profile { kind, speeds: Speeds::guess(kind), ..profile };
    let cpu = Profile { subgroup_sizes: (8, 8), ..of(DeviceKind::Cpu, Profile::portable()) };
    let gpus = [DeviceKind::Discrete, DeviceKind::Integrated].map(|kind| of(kind, Profile::capable()));
    for profile in [vec![cpu, Profile::portable()], gpus.into()].concat() {
        let plan = plan(&graph, &profile, &Policy::default()).unwrap();
        let kernels = kernels(&plan);
        assert_eq!(kernels.len(), 8, "{:?}: {kernels:?}", profile.kind);
        let copies = kernels.iter().filter(|k| k.starts_with("copy"));
        assert_eq!(copies.count(), 0, "{kernels:?}");
    }
}

#[test]
fn of_many_positions_each_slice_is_a_matmul_of_its_own() {
    for (t, slices) in [(8, 1), (64, 0)] {
        let plan = plan(&layer(&Dim::from(t)), &Profile::portable(), &Policy::default()).unwrap();
        let kernels = kernels(&plan);
        assert_eq!(kernels.iter().filter(|k| **k == "matmul_slices.vector").count(), slices, "{kernels:?}");
        assert!(kernels.len() <= if slices == 1 { 9 } else { 16 }, "{kernels:?}");
    }
}

/// Where a slice begins depends on how many positions a call has, which no kernel can be told: it is copied.
#[test]
fn of_positions_that_a_call_says_each_slice_is_copied() {
    let mut g = Graph::new();
    let t = g.dim("T", 64).unwrap();
    let x = g.input("x", DType::F32, &[3.into(), t, 64.into()]).unwrap();
    let w = g.weight("w", DType::F16, &[96, 64]).unwrap();
    let y = g.matmul_slices(x, w, &[(32, None), (32, None), (32, None)]).unwrap();
    g.output("y", y).unwrap();
    let plan = plan(&g, &Profile::portable(), &Policy::default()).unwrap();
    let kernels = kernels(&plan);
    assert_eq!(kernels.iter().filter(|k| k.starts_with("matmul.")).count(), 3, "{kernels:?}");
    assert_eq!(kernels.iter().filter(|k| k.starts_with("copy")).count(), 2, "{kernels:?}");
}

#[test]
fn what_does_not_fit_is_told_with_both_numbers() {
    let mut g = Graph::new();
    let mut of = |name: &str, shape: &[usize]| g.input(name, DType::F32, &fixed(shape)).unwrap();
    let (x, mix, rkv) = (of("x", &[1, 2, 64]), of("mix", &[3, 32]), of("rkv", &[1, 2, 3, 1, 64]));
    let (gates, vectors) = (of("gates", &[4, 1, 2, 1, 64]), of("vectors", &[8, 1, 64]));
    let (three, w) = (of("three", &[3, 2, 64]), of("w", &[100, 64]));
    let state = g.state("s", DType::F32, &fixed(&[1, 64])).unwrap();
    let own = g.state("own", DType::F32, &fixed(&[1, 1, 64, 64])).unwrap();
    let told = |e: tachylite::Error| e.to_string();
    assert_eq!(
        told(g.token_shift(x, None, mix, state).unwrap_err()),
        "token_shift: `mix` has C = 32, but `x` has 64"
    );
    let of = Rwkv7 { rkv, gates, vectors, first: None, eps: 64e-5, norm_eps: 1e-12 };
    assert_eq!(
        told(g.rwkv7(of, own).unwrap_err()),
        "rwkv7: `gates` has N = 4, but without `first` it must be 3"
    );
    assert_eq!(
        told(g.matmul_slices(three, w, &[(100, None)]).unwrap_err()),
        "matmul_slices: `x` has B = 3, but 1 slices of at most 8 are named"
    );
    let uneven = g.matmul_slices(three, w, &[(30, None), (30, None), (40, None)]);
    assert_eq!(
        told(uneven.unwrap_err()),
        "matmul_slices: the columns of slice 0 are 0 to 30, but of N = 100 each of B = 3 slices has a multiple of \
         32, and the last the rest"
    );
    assert!(g.matmul_slices(three, w, &[(32, None), (32, Some(Unary::Gelu)), (36, None)]).is_err());
    assert!(g.matmul_slices(three, w, &[(32, None), (32, None), (36, None)]).is_ok());
}

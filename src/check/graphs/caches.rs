//! States: what a call leaves for the next, where it lies.

use super::{GraphCase, linear, no_fill};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::ops::append::At;
use crate::ops::attention::{Attention, Reach};
use crate::ops::rope::{self, Rope};
use crate::rng::Rng;

/// Graphs that change states.
pub(super) static ALL: &[GraphCase] = &[
    GraphCase {
        name: "graph.pages",
        build: pages,
        calls: &[&[("S", 3.0)], &[("S", 1.0)], &[("S", 9.0)], &[("S", 0.0)]],
        fill: |name, shape, rng| match name {
            "lengths" => Some((0..shape[0]).map(|_| rng.below(21) as f64).collect()),
            "turns" => Some(rope::turns(shape[0], rng)),
            "table" => Some(table(shape[0], shape[1], rng)),
            _ => no_fill(name, shape, rng),
        },
    },
    GraphCase {
        name: "graph.states",
        build: states,
        calls: &[
            &[("S", 3.0), ("at", 5.0)],
            &[("S", 1.0), ("at", 28.0)],
            &[("S", 9.0), ("at", 0.0)],
            &[("S", 0.0), ("at", 4.0)],
        ],
        fill: |name, shape, rng| match name {
            "lengths" => Some((0..shape[0]).map(|_| rng.below(30) as f64).collect()),
            "turns" => Some(rope::turns(shape[0], rng)),
            _ => no_fill(name, shape, rng),
        },
    },
];

/// Rows of a table of pages: where a sequence is, and pages that no other has.
fn table(rows: usize, columns: usize, rng: &mut Rng) -> Vec<f64> {
    let mut pages: Vec<usize> = (0..rows * (columns - 1)).collect();
    for i in (1..pages.len()).rev() {
        pages.swap(i, rng.below(i as u64 + 1) as usize);
    }
    let row = |pages: &[usize]| {
        let start = rng.below(12) as usize;
        std::iter::once(start).chain(pages.iter().copied()).collect::<Vec<_>>()
    };
    pages.chunks(columns - 1).flat_map(row).map(|n| n as f64).collect()
}

/// Two sequences whose keys and values lie in pages: one table says where, to who appends and to who attends.
fn pages(g: &mut Graph, dtype: DType) -> Result<()> {
    const C: usize = 16;
    let s = g.dim("S", 9)?;
    let fixed = |n: usize| Dim::from(n);
    let x = g.input("x", dtype, &[fixed(2), s.clone(), fixed(C)])?;
    let table = g.input("table", DType::U32, &[fixed(2), fixed(6)])?;
    let heads = [fixed(2), s, fixed(2), fixed(C / 2)];
    let [q, k, v] = ["q", "k", "v"].map(|name| linear(g, x, name, dtype, C, C));
    let [q, k, v] = [g.reshape(q?, &heads)?, g.reshape(k?, &heads)?, g.reshape(v?, &heads)?];
    let cache = [fixed(11), fixed(4), fixed(2), fixed(C / 2)];
    let caches = (g.state("keys", DType::F16, &cache)?, g.state("values", DType::F16, &cache)?);
    let rope = Rope::new(C / 2, 1e4);
    let turns = rope.weight(g, "turns")?;
    let at = At { pages: Some(table), ..At::default() };
    let (q, keys, values) = g.rope_append((q, k, v), caches, (turns, &rope), at)?;
    let lengths = Some(g.input("lengths", DType::U32, &[fixed(2)])?);
    let how = Attention {
        lengths,
        pages: Some(table),
        causal: true,
        reach: Reach::Lengths,
        ..Attention::default()
    };
    let o = g.attention(q, keys, values, how)?;
    g.output("o", o)
}

/// Keys, turned, and values of a call's tokens go into caches, which it then attends to; and what it adds to
/// its first rows is replaced before it is normalised: a sum that waited for that would read what was put there.
fn states(g: &mut Graph, dtype: DType) -> Result<()> {
    const C: usize = 16;
    let (s, at) = (g.dim("S", 9)?, g.dim("at", 29)?);
    let fixed = |n: usize| Dim::from(n);
    let x = g.input("x", dtype, &[fixed(1), s.clone(), fixed(C)])?;
    let last = g.state("last", dtype, &[fixed(1), fixed(1), fixed(1), fixed(C)])?;
    let before = g.reshape(last, &[fixed(1), fixed(1), fixed(C)])?;
    let mixed = g.add(x, before)?;
    let new = g.input("new", dtype, &[fixed(1), fixed(1), fixed(1), fixed(C)])?;
    g.append(last, new, At::default())?;
    let gain = g.weight("gain", dtype, &[C])?;
    let mixed = g.rms_norm(mixed, gain, 1e-5)?;

    let heads = [fixed(1), s, fixed(2), fixed(C / 2)];
    let [q, k, v] = ["q", "k", "v"].map(|name| linear(g, mixed, name, dtype, C, C));
    let [q, k, v] = [g.reshape(q?, &heads)?, g.reshape(k?, &heads)?, g.reshape(v?, &heads)?];
    let cache = [fixed(1), fixed(29), fixed(2), fixed(C / 2)];
    let caches = (g.state("keys", DType::F16, &cache)?, g.state("values", DType::F16, &cache)?);
    let rope = Rope::new(C / 2, 1e4);
    let turns = rope.weight(g, "turns")?;
    let (q, keys, values) =
        g.rope_append((q, k, v), caches, (turns, &rope), At { start: at, ..At::default() })?;
    let lengths = Some(g.input("lengths", DType::U32, &[fixed(1)])?);
    let how = Attention { lengths, causal: true, reach: Reach::Lengths, ..Attention::default() };
    let o = g.attention(q, keys, values, how)?;
    g.output("o", o)
}

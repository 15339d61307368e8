//! Rotary embedding of queries and keys, and keys and values appended to their caches, in one dispatch: what
//! stands between the projections of a decoder's layer and its attention.
//!
//! Bound by memory. A row is the head of a token; what a row of q, k and v becomes is what [`super::rope`]
//! and [`super::append`] make of it, whose texts and references these are.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::numerics::Approx;
use crate::op::Axis::{B, C, D, G, H, K, N, S, T};
use crate::op::{
    Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes,
};
use crate::ops::append::places::{self, Places};
use crate::ops::append::{self, At, CACHES, cases};
use crate::ops::past_one_axis;
use crate::ops::rope::{self, Rope, Way};
use crate::ops::teams::{BLOCK, LANES, Teams};
use crate::plan::Numerics;

/// q turned; k, turned, and v in their caches.
pub static ROPE_APPEND: Op = Op {
    name: "rope_append",
    formula: "q_out = rope(q), k_cache and v_cache as append(rope(k), v), at the positions that rows are \
              appended at: starts[b] + start + s, or pages[b, 0] + start + s",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("q", &[B, S, H, D], FLOATS),
        Arg::new("k", &[B, S, G, D], FLOATS),
        Arg::new("v", &[B, S, G, C], FLOATS),
        Arg::new("turns", &[K], INDEX),
        Arg::optional("starts", &[B], INDEX),
        Arg::optional("pages", &[B, N], INDEX),
        Arg::new("k_cache", &[B, T, G, D], CACHES),
        Arg::new("v_cache", &[B, T, G, C], CACHES),
    ],
    outputs: &[
        Arg::new("q_out", &[B, S, H, D], FLOATS),
        Arg::new("k_cache", &[B, T, G, D], CACHES),
        Arg::new("v_cache", &[B, T, G, C], CACHES),
    ],
    attrs: &[
        ("pairing", AttrKind::U32),
        ("scale", AttrKind::F32),
        ("start", AttrKind::Whole),
        ("ring", AttrKind::U32),
        ("form", AttrKind::U32),
    ],
    infer,
    reference,
    // Of a pair: the angle and its functions, and the rotation.
    flops: |s| (s.product(&[B, S, H, K]) + s.product(&[B, S, G, K])) * 30.0,
    kernels: &[&ROWS],
    cases: Cases {
        axes: &[(B, 2), (S, 3), (T, 6), (D, 24)],
        weights: &[DType::F32],
        variants: VARIANTS,
        applies: |_| true,
        many_workgroups: |_| {
            Some(Sizes::new(&[(B, past_one_axis(BLOCK / LANES.0) / 5 + 1), (S, 1), (T, 1), (D, 1)]))
        },
        build,
        fill: |name, shape, rng| match name {
            "turns" => Some(rope::turns(pairs(shape), rng)),
            _ => cases::fill(name, shape, rng),
        },
    },
};

/// What is of `append` is named as there.
const VARIANTS: &[&str] =
    &["halves", "neighbours_starts", "partial_ring", "other_type_pages", "q8_0", "neighbours_q4_0"];

static ROWS: Kernel = Kernel {
    name: "rope_append.rows",
    file: "rope_append.wgsl",
    source: include_str!("../../shaders/rope_append.wgsl"),
    blocks: &[(S, 4), (D, 8 * LANES.1)],
    knobs: |s| {
        let pairs = ("PAIRS", format!("{}u", rope::way(s) as u32));
        std::iter::once(pairs).chain(append::knobs(s, lanes(s))).collect()
    },
    workgroups: |s| {
        let heads = Dim::from((s.size(H) + 2 * s.size(G)) as u64);
        Expr::Mul(vec![s.dim(B).into(), s.dim(S).into(), heads.into()]).ceil_div(BLOCK / lanes(s))
    },
    cost: |s| Work {
        flops: (s.sizes.product(&[B, S, H, K]) + s.sizes.product(&[B, S, G, K]))
            * if rope::way(s) == Way::Scattered { 150.0 } else { 75.0 },
        bytes: 2.0 * s.bytes("q") + s.bytes("k") + s.bytes("v") + append::written(s),
        invocations: s.sizes.product(&[B, S]) * ((s.size(H) + 2 * s.size(G)) as u64 * lanes(s)) as f64,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

/// Invocations of a team: one for each unit of a row of q, and of rows that are kept as codes one for each block,
/// so that workgroup memory has room for those of all teams.
fn lanes(s: &Site<'_>) -> u64 {
    let blocks = if s.attr_u32("form") > 0 { s.size(D).max(s.size(C)).div_ceil(32) } else { 0 };
    Teams::new(4 * rope::units(s).max(blocks), 1, 1).lanes
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let q = i.rank(0, 4)?.to_vec();
    let k = i.rank(1, 4)?;
    for (at, axis) in [(0, B), (1, S), (3, D)] {
        i.same(axis, (0, &q[at]), (1, &k[at]))?;
    }
    let pairs = rope::pairs_of(i, (0, &q[3]), 3)?;
    let (mut sizes, caches) = places::check(i)?;
    if q[2].constant().is_none() {
        return Err(crate::Error::Shape("rope_append: H must be fixed, not a dim of the call".into()));
    }
    sizes.extend([(H, q[2].clone()), (K, pairs.into())]);
    let outputs = [vec![(q, i.operand(0)?.dtype)], caches].concat();
    let mut folds = i.folds(&outputs);
    folds[3] = vec![(K, 2)];
    Ok(Inferred { axes: Axes::new(&sizes), folds, outputs })
}

fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let places = Places::new(c, (c.inputs[4], c.inputs[5]));
    let s = c.sizes.get(S).max(1);
    let position = |token: usize, _| u64::from(places.position(token / s, token % s));
    let [q, k] = [0, 1].map(|x| rope::reference::turned(c, c.input(x), c.input(3), position));
    vec![q, places.written(&k, c.input(6)), places.written(c.input(2), c.input(7))]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let variant = VARIANTS[shape.variant];
    let [b, s, d] = [B, S, D].map(|a| Dim::from(shape.sizes.get(a)));
    let (heads, groups, c) = (Dim::from(3), Dim::from(1), Dim::from(shape.sizes.get(D) + 3));
    let stored = if variant.contains("other_type") { DType::F16 } else { shape.x };
    let q = g.input("q", shape.x, &[b.clone(), s.clone(), heads, d.clone()])?;
    let k = g.input("k", shape.x, &[b.clone(), s.clone(), groups.clone(), d.clone()])?;
    let v = g.input("v", shape.x, &[b, s, groups.clone(), c.clone()])?;
    let turns = g.weight("turns", DType::U32, &[pairs(shape), rope::WORDS])?;
    let at = cases::at(g, shape, variant)?;
    let k_cache = cases::state(g, "k_cache", (shape, stored), &[groups.clone(), d], &at)?;
    let v_cache = cases::state(g, "v_cache", (shape, stored), &[groups, c], &at)?;
    let mut how = Rope::new(2 * pairs(shape), 1e4);
    if variant.contains("neighbours") {
        how = how.neighbours();
    }
    if variant.contains("partial") {
        how.scale = 1.125;
    }
    let made = g.rope_append((q, k, v), (k_cache, v_cache), (turns, &how), at)?;
    g.output("q_out", made.0)
}

/// All that a head has room for, or some.
fn pairs(shape: &Shape) -> usize {
    shape.sizes.get(D) / if VARIANTS[shape.variant].contains("partial") { 3 } else { 2 }
}

impl Graph {
    /// Turns queries and keys, and appends keys and values to their caches, in one dispatch: as
    /// [`rope`](Self::rope) of `q [B, S, H, D]` and of `k [B, S, G, D]`, then
    /// [`append_both`](Self::append_both) of k and `v [B, S, G, C]` to states `[B, T, G, D]` and `[B, T, G, C]`,
    /// or pages or other forms of such rows. A token stands at the position that its row is appended at, in a ring
    /// too: `at.start` + `at.starts[b]` + s, a whole number of 32 bits. q, k and v may be views of one packed
    /// tensor, as [`rope`](Self::rope) has it; `turns` is the weight of [`Rope::weight`], whose sections are not
    /// looked at. Returns q, in its own type, and the caches. Where positions are others than rows, use the two.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) where sizes differ or pairs do not fit D,
    /// [`Error::Argument`](crate::Error::Argument) if a cache is no [`state`](Self::state).
    pub fn rope_append(
        &mut self,
        (q, k, v): (ValueId, ValueId, ValueId),
        caches: (ValueId, ValueId),
        (turns, rope): (ValueId, &Rope),
        at: At,
    ) -> Result<(ValueId, ValueId, ValueId)> {
        let own = [("pairing", Attr::U32(rope.pairing as u32)), ("scale", Attr::F32(rope.scale))];
        let attrs: Vec<_> = own.into_iter().chain(at.attrs(ROPE_APPEND.name)?).collect();
        let inputs = [q, k, v, turns].map(Some).into_iter().chain([at.starts, at.pages]);
        let inputs: Vec<_> = inputs.chain([Some(caches.0), Some(caches.1)]).collect();
        let made = self.apply(&ROPE_APPEND, &inputs, &attrs)?;
        Ok((made[0], made[1], made[2]))
    }
}

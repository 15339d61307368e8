//! Rotary position embeddings (Su et al. 2021): pairs of elements of a head are turned by an angle that grows with
//! the position of its token.
//!
//! Bound by memory. Angles are as accurate at position 10⁶ as at position 1: a frequency is a fixed-point part of
//! a turn, and its product with a position, of which whole turns fall away, is exact in integers; what is left of
//! it becomes a float when it is an eighth of a turn at most. So a kernel's own error is 7 units of roundoff of
//! that, wherever a token stands, and the table's is 2⁻⁵² of position · frequency.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::op::Axis::{B, D, H, K, N, S};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, Shape, Sizes};
use crate::ops::past_one_axis;
use crate::plan::Numerics;
use crate::rng::Rng;

mod frequencies;
pub(crate) mod reference;
mod rotate;

pub use frequencies::Rope;

/// Words of a pair in the table.
pub(crate) const WORDS: usize = 3;

/// Pairs of elements of the last axis, turned by position · frequency.
pub static ROPE: Op = Op {
    name: "rope",
    formula: "y[b, s, h, i] = m (x[b, s, h, i] cos θ - x[b, s, h, j] sin θ), \
              y[b, s, h, j] = m (x[b, s, h, j] cos θ + x[b, s, h, i] sin θ), θ = 2π·turns[k]·positions[n, b, s] \
              (or start + s), (i, j) = (k, k + K) or (2k, 2k + 1) for k < K; other elements as they are",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("x", &[B, S, H, D], FLOATS),
        Arg::new("turns", &[K], INDEX),
        Arg::optional("positions", &[N, B, S], INDEX),
    ],
    outputs: &[Arg::new("y", &[B, S, H, D], FLOATS)],
    attrs: &[("pairing", AttrKind::U32), ("start", AttrKind::Whole), ("scale", AttrKind::F32)],
    infer,
    reference: reference::reference,
    // Of a pair: the angle and its functions, and the rotation.
    flops: |s| s.product(&[B, S, H, K]) * 30.0,
    kernels: &[&PAIRS],
    cases: Cases {
        axes: &[(B, 2), (S, 3), (H, 2), (D, 24)],
        weights: &[DType::F32],
        variants: &["halves", "neighbours", "halves_start", "partial", "neighbours_sections", "quarters"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(64)), (S, 1), (H, 1), (D, 3)])),
        build,
        fill,
    },
};

static PAIRS: Kernel = Kernel {
    name: "rope.pairs",
    file: "rope.wgsl",
    source: include_str!("../../shaders/rope.wgsl"),
    blocks: &[(S, 16), (D, 64)],
    knobs: |s| vec![("PAIRS", format!("{}u", way(s) as u32))],
    workgroups: |s| {
        let units = Dim::from(units(s)).times(&s.dim(B)).times(&s.dim(S)).times(&s.dim(H));
        Expr::from(units).ceil_div(64)
    },
    cost: |s| Work {
        flops: s.sizes.product(&[B, S, H, K]) * if way(s) == Way::Scattered { 150.0 } else { 75.0 },
        bytes: s.bytes("x") + s.bytes("y"),
        invocations: s.sizes.product(&[B, S, H]) * units(s) as f64,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

/// How an invocation finds its pairs; the numbers are those of `PAIRS` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Groups = 0,
    Scattered = 1,
    Neighbours = 2,
}

pub(crate) fn way(s: &Site<'_>) -> Way {
    match s.attr_u32("pairing") == Pairing::Neighbours as u32 {
        true => Way::Neighbours,
        false if s.size(K).is_multiple_of(4) => Way::Groups,
        false => Way::Scattered,
    }
}

/// Invocations for a head: the units of `lib/pairs.wgsl`.
pub(crate) fn units(s: &Site<'_>) -> usize {
    let groups = s.size(D).div_ceil(4);
    match way(s) {
        Way::Groups => groups - s.size(K) / 4,
        Way::Scattered => groups,
        Way::Neighbours => groups.div_ceil(2),
    }
}

/// How many pairs `turns` has, which heads of a width, the last axis of an operand, must have room for.
///
/// # Errors
/// [`Error::Shape`] if they have not.
pub(crate) fn pairs_of(i: &Infer<'_>, (x, d): (usize, &Dim), turns: usize) -> Result<u64> {
    let (op, name) = (i.op.name, i.op.inputs[x].name);
    let turns = &i.operand(turns)?.shape;
    let fixed = |d: Option<&Dim>| d.and_then(Dim::constant);
    let (Some(width), Some(k), Some(3), 2) =
        (d.constant(), fixed(turns.first()), fixed(turns.get(1)), turns.len())
    else {
        return Err(Error::Shape(format!(
            "{op}: `turns` must be [K, 3] and D fixed, but `turns` is {} and `{name}` is {}",
            i.show(turns),
            i.show(&i.operand(x)?.shape)
        )));
    };
    if 2 * k > width {
        return Err(Error::Shape(format!(
            "{op}: `turns` has K = {k} pairs, but `{name}` has D = {width} elements in a head"
        )));
    }
    Ok(k)
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let x = i.operand(0)?.clone();
    let [batch @ .., s, h, d] = x.shape.as_slice() else {
        let rank = x.shape.len();
        return Err(Error::Shape(format!("rope: `x` needs at least 3 axes [S, H, D], but it has {rank}")));
    };
    let k = pairs_of(i, (0, d), 1)?;
    let mut rows = Dim::ONE;
    let mut positions = Vec::new();
    if let Some(Some(given)) = i.inputs.get(2) {
        let tokens = [batch, std::slice::from_ref(s)].concat();
        let surplus = given.shape.len().checked_sub(tokens.len()).filter(|n| *n < 2);
        let Some(surplus) = surplus.filter(|n| given.shape[*n..] == tokens) else {
            return Err(Error::Shape(format!(
                "rope: `positions` is {}, but the tokens of `x` are {}, with at most one axis before them",
                i.show(&given.shape),
                i.show(&tokens)
            )));
        };
        rows = Dim::product(&given.shape[..surplus]);
        if rows.constant().is_none_or(|n| n == 0) {
            return Err(Error::Shape(
                "rope: `positions` must have a fixed number of rows, at least 1".into(),
            ));
        }
        positions = vec![(N, surplus), (B, batch.len()), (S, 1)];
    }
    let own = vec![(B, batch.len()), (S, 1), (H, 1), (D, 1)];
    let sizes =
        [(B, Dim::product(batch)), (S, s.clone()), (H, h.clone()), (D, d.clone()), (K, k.into()), (N, rows)];
    Ok(Inferred {
        axes: Axes::new(&sizes),
        folds: vec![own.clone(), vec![(K, 2)], positions, own],
        outputs: vec![(x.shape.clone(), x.dtype)],
    })
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, s, h, d] = [B, S, H, D].map(|a| Dim::from(shape.sizes.get(a)));
    let pairs = pairs(shape);
    let x = g.input("x", shape.x, &[b.clone(), s.clone(), h, d])?;
    let turns = g.weight("turns", DType::U32, &[pairs, WORDS])?;
    let at = match shape.variant {
        2 => Positions::From(1_000_003.into()),
        4 => Positions::Given(g.input("positions", DType::U32, &[3.into(), b, s])?),
        _ => Positions::Given(g.input("positions", DType::U32, &[b, s])?),
    };
    let mut rope = Rope::new(2 * pairs, 1e4);
    if matches!(shape.variant, 1 | 4) {
        rope = rope.neighbours();
    }
    if shape.variant == 3 {
        rope.scale = 1.125;
    }
    let mut y = g.rope(x, turns, &rope, at)?;
    if shape.variant == 2 {
        y = g.scale(y, Attr::F32(0.5))?;
    }
    g.output("y", y)
}

/// All that a head has room for, or some.
fn pairs(shape: &Shape) -> usize {
    let d = shape.sizes.get(D);
    if shape.variant == 3 { d / 3 } else { d / 2 }
}

/// Turns of a case: every second pair is slow, so that what is left of a turn has few bits in its upper word.
pub(crate) fn turns(pairs: usize, rng: &mut Rng) -> Vec<f64> {
    let word = |below: u64, rng: &mut Rng| rng.below(below) as f64;
    let high = |k: usize| if k % 2 == 1 { 3 } else { 1 << 32 };
    (0..pairs).flat_map(|k| [word(1 << 32, rng), word(high(k), rng), word(4, rng)]).collect()
}

fn fill(name: &str, shape: &Shape, rng: &mut Rng) -> Option<Vec<f64>> {
    let [b, s] = [B, S].map(|a| shape.sizes.get(a));
    let word = |rng: &mut Rng| rng.below(1 << 32) as f64;
    match name {
        // Quarters of turns turn without rounding.
        "turns" if shape.variant == 5 => {
            let quarter = |rng: &mut Rng| [0.0, (rng.below(4) << 30) as f64, 0.0];
            Some((0..pairs(shape)).flat_map(|_| quarter(rng)).collect())
        }
        "turns" => Some(turns(pairs(shape), rng)),
        "positions" => {
            let rows = if shape.variant == 4 { 3 } else { 1 };
            let one = |i: usize, rng: &mut Rng| [0.0, 1.0, rng.below(1 << 20) as f64, word(rng)][i % 4];
            Some((0..rows * b * s).map(|i| one(i, rng)).collect())
        }
        _ => None,
    }
}

/// Which elements of a head are a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pairing {
    /// One of the first half and one of the second, as GPT-NeoX, Llama's converted weights and most others do.
    #[default]
    Halves,
    /// Neighbours, as GPT-J and Llama's own weights do.
    Neighbours,
}

/// Where tokens stand.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// u32 of the shape `[.., S]` that the tokens have; or with an axis before it, of the rows that pairs may
    /// follow ([`Rope::sections`]).
    Given(ValueId),
    /// One behind the other, in every sequence from this one on, which may be a dim of the call.
    From(Dim),
}

impl Graph {
    /// Turns pairs of the elements of each head by position · frequency: `x [.., S, H, D]`, `turns` the weight of
    /// [`Rope::weight`]. Elements behind the last pair stay as they are. Queries and keys may be views of one
    /// packed tensor, and axes exchanged before D: they are read where they lie.
    ///
    /// # Errors
    /// [`Error::Shape`] if the pairs do not fit D or positions do not go with the tokens;
    /// [`Error::Argument`] if the first position is a product of dims.
    pub fn rope(&mut self, x: ValueId, turns: ValueId, rope: &Rope, at: Positions) -> Result<ValueId> {
        let (positions, start) = match at {
            Positions::Given(positions) => (Some(positions), Attr::U32(0)),
            Positions::From(start) => (
                None,
                start.attr().ok_or_else(|| {
                    let start = start.show(self.scalars());
                    Error::Argument(format!(
                        "rope: the first position is {start}, but it must be one dim or number"
                    ))
                })?,
            ),
        };
        let attrs =
            [("pairing", Attr::U32(rope.pairing as u32)), ("start", start), ("scale", Attr::F32(rope.scale))];
        self.apply_one(&ROPE, &[Some(x), Some(turns), positions], &attrs)
    }
}

//! Drawing a token from logits: what is said already made less likely, temperature, three filters, and the draw.
//!
//! Bound by memory, and by how often a row is read: twice for each filter and for the draw where much is left,
//! less where blocks of it cannot matter any more.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Scratch, Site, Work};
use crate::op::Axis::{N, R, V};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, Shape, Sizes};
use crate::ops::past_one_axis;
use crate::plan::Numerics;
use crate::rng::Rng;

mod reference;

/// One token of each row, drawn by chance.
pub static SAMPLE: Op = Op {
    name: "sample",
    formula: "z[r, c] = x[r, c], of recent tokens x / penalty where x > 0, else x · penalty (Keskar et al. 2019). \
              Tokens rank by falling z, then by rising c; w[c] = floor(2³¹ exp((z[c] - max z) / temperature)). \
              Kept are the first top_k, of those the first whose Σ w reaches top_p of all of theirs, of those the \
              ones whose exponential is min_p or more. y[r] = the first in rank at which Σ w > u Σ w of all kept, \
              u 2⁻³² times the first word of Philox4x32-10 (Salmon et al. 2011) at the counter (step, r, 0, 0) by \
              the key (seed, 0). Filters are in the order of Hugging Face's generation; temperature 0: arg max z",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, V], FLOATS), Arg::optional("recent", &[R, N], INDEX)],
    outputs: &[Arg::new("y", &[R], INDEX)],
    attrs: &[
        ("penalty", AttrKind::Float),
        ("temperature", AttrKind::Float),
        ("top_k", AttrKind::Whole),
        ("top_p", AttrKind::Float),
        ("min_p", AttrKind::Float),
        ("seed", AttrKind::Whole),
        ("step", AttrKind::Whole),
    ],
    infer,
    reference: reference::reference,
    flops: |s| 10.0 * s.product(&[R, V]),
    kernels: &[&DIGITS],
    cases: Cases {
        axes: &[(R, 3), (V, 72), (N, 5)],
        weights: &[DType::F32],
        variants: &["penalty", "greedy", "top_k_top_p", "min_p_scaled", "masked"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(1)), (V, 1), (N, 1)])),
        build,
        fill,
    },
};

/// Tokens that a workgroup of the first dispatch does, and those that a top is of.
const SHARE: u64 = 4096;
const BLOCK: u64 = 64;

static DIGITS: Kernel = Kernel {
    name: "sample.digits",
    file: "sample.wgsl",
    source: include_str!("../../shaders/sample.wgsl"),
    blocks: &[(V, SHARE)],
    knobs: |s| vec![("BLOCK", format!("{}u", block(s)))],
    workgroups: |s| Expr::from(s.dim(R)),
    // It reads a row about six times.
    cost: |s| Work {
        flops: s.sizes.product(&[R, V]) * 200.0 + s.sizes.product(&[R]) * 2e4,
        bytes: s.bytes("x") + 6.0 * 4.0 * s.sizes.product(&[R, V]) + s.bytes("y"),
        invocations: s.sizes.product(&[R]) * block(s) as f64,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    scratch: &[
        Scratch::new("keys", DType::U32, |s| vec![s.dim(R), (s.size(V) as u64).next_multiple_of(4).into()]),
        Scratch::new("tops", DType::U32, |s| vec![s.dim(R), (s.size(V) as u64).div_ceil(BLOCK).into()]),
    ],
    first: &[&KEYS],
    ..Kernel::PLAIN
};

static KEYS: Kernel = Kernel {
    name: "sample.digits_keys",
    file: "sample_keys.wgsl",
    source: include_str!("../../shaders/sample_keys.wgsl"),
    workgroups: |s| Expr::from(s.dim(R).times(&shares(s).into())),
    scratch: &[],
    first: &[],
    ..DIGITS
};

fn shares(s: &Site<'_>) -> u64 {
    (s.size(V) as u64).div_ceil(SHARE)
}

/// Few for few tokens, and no size in between, which would be another text to compile.
fn block(s: &Site<'_>) -> u64 {
    if s.size(V) <= 256 { 16 } else { 256 }
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, width) = i.rows_and_channels(0)?;
    if width.constant().is_none() {
        let width = width.show(i.scalars);
        return Err(Error::Shape(format!("sample: `x` has V = {width}, but V must be fixed")));
    }
    let x = i.operand(0)?.shape.clone();
    let leading = &x[..x.len() - 1];
    let mut axes = vec![(R, rows.clone()), (V, width)];
    let mut fold = Vec::new();
    if let Some(Some(recent)) = i.inputs.get(1) {
        if recent.shape.len() != x.len() || recent.shape[..leading.len()] != *leading {
            return Err(Error::Shape(format!(
                "sample: `recent` is {}, but the rows of `x` are {}",
                i.show(&recent.shape),
                i.show(leading)
            )));
        }
        axes.push((N, recent.shape[leading.len()].clone()));
        fold = vec![(R, leading.len()), (N, 1)];
    }
    // The first that is true is right, so that what a call gives passes, and a NaN does not.
    let fixed =
        |name: &str, right: fn(f32) -> bool, must: &str| match i.attrs.iter().find(|(n, _)| *n == name) {
            Some((_, Attr::F32(v))) if !right(*v) => {
                Err(Error::Argument(format!("sample: `{name}` is {v}, but it must be {must}")))
            }
            _ => Ok(()),
        };
    fixed("penalty", |v| v > 0.0, "above 0")?;
    fixed("temperature", |v| v >= 0.0, "0 or more")?;
    fixed("top_p", |v| v > 0.0 && v <= 1.0, "above 0 and at most 1")?;
    fixed("min_p", |v| (0.0..=1.0).contains(&v), "from 0 to 1")?;
    Ok(Inferred {
        axes: Axes::new(&axes),
        folds: vec![vec![(R, leading.len()), (V, 1)], fold, vec![(R, 1)]],
        outputs: vec![(vec![rows], DType::U32)],
    })
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [rows, width, n] = [R, V, N].map(|a| Dim::from(shape.sizes.get(a)));
    let mut x = g.input("x", shape.x, &[rows.clone(), width])?;
    let mut how = Sampling { seed: 7.into(), step: 5.into(), ..Sampling::default() };
    if shape.variant != 2 {
        how.recent = Some(g.input("recent", DType::U32, &[rows, n])?);
        how.penalty = Attr::F32(if shape.variant == 4 { 2.0 } else { 1.5 });
    }
    match shape.variant {
        0 => how.temperature = Attr::F32(0.75),
        1 => how.temperature = Attr::F32(0.0),
        2 => {
            (how.temperature, how.top_k, how.top_p) = (Attr::F32(0.5), 9.into(), Attr::F32(0.75));
        }
        3 => {
            x = g.scale(x, Attr::F32(4.0))?;
            (how.top_p, how.min_p) = (Attr::F32(0.9), Attr::F32(0.1));
        }
        _ => (how.temperature, how.top_k) = (Attr::F32(3.0), 40.into()),
    }
    let y = g.sample(x, how)?;
    g.output("y", y)
}

/// What is drawn for an element.
type Draw<'a> = dyn Fn(usize, &mut Rng) -> f64 + 'a;

fn fill(name: &str, shape: &Shape, rng: &mut Rng) -> Option<Vec<f64>> {
    let [rows, width, n] = [R, V, N].map(|a| shape.sizes.get(a));
    let low = if shape.x == DType::F32 { -1.5e38 } else { -60000.0 };
    let one: Box<Draw<'_>> = match (name, shape.variant) {
        // Without the last tokens, which are the likeliest, others are.
        ("recent", 1) => Box::new(|_, rng| (width as f64 - 1.0 - rng.below(8) as f64).max(0.0)),
        ("x", 1) => Box::new(|i, rng| {
            ((i % width) as f64 + 4.0 * rng.unit()) / 64.0 - if i / width == 1 { 1000.0 } else { 0.0 }
        }),
        // Some of the tokens, some twice, some past the end, and none.
        ("recent", _) => Box::new(|_, rng| match rng.below(5) {
            0 => f64::from(u32::MAX),
            _ => rng.below(width as u64 + 3) as f64,
        }),
        // Of the second row nothing can be drawn, and what is nearly -∞ is as good as that.
        ("x", 4) => Box::new(|i, rng| match rng.below(5) {
            0 => f64::NEG_INFINITY,
            _ if i / width == 1 => f64::NEG_INFINITY,
            1 => low,
            _ => (16.0 * rng.signed()).round() / 4.0,
        }),
        _ => return None,
    };
    let count = rows * if name == "x" { width } else { n };
    Some((0..count).map(|i| one(i, rng)).collect())
}

/// How a token is drawn from logits. Everything but `recent` may be a scalar or a dim of the call.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// u32 `[.., N]`: the last tokens of each row, in any order; numbers from V on stand for none.
    pub recent: Option<ValueId>,
    /// What the logits of recent tokens are divided by where positive, and multiplied by elsewhere: above 0; 1
    /// leaves them alone.
    pub penalty: Attr,
    /// What logits are divided by, after the penalty and before the filters, up to 2⁶⁰. 0, and less than 2⁻⁶⁰:
    /// the token with the largest logit.
    pub temperature: Attr,
    /// How many tokens are left, those with the largest logits; 0 for all.
    pub top_k: Dim,
    /// Of the mass of those: the fewest tokens are left that have as large a part of it. 1 leaves all.
    pub top_p: Attr,
    /// What a token needs of the probability of the likeliest one.
    pub min_p: Attr,
    /// What makes draws of different sequences differ.
    pub seed: Dim,
    /// What makes those of one sequence differ: best its length.
    pub step: Dim,
}

impl Default for Sampling {
    /// Temperature 1, and no filter.
    fn default() -> Self {
        Self {
            recent: None,
            penalty: Attr::F32(1.0),
            temperature: Attr::F32(1.0),
            top_k: 0.into(),
            top_p: Attr::F32(1.0),
            min_p: Attr::F32(0.0),
            seed: 0.into(),
            step: 0.into(),
        }
    }
}

impl Graph {
    /// A token drawn for each row of logits `x [.., V]`: u32 `[R]` over all rows. Penalty, temperature, top-k,
    /// top-p and min-p are applied in this order, which is that of Hugging Face's generation (llama.cpp's default
    /// has the temperature last); of equal logits the lower token comes first in all of them. The same seed, step
    /// and row give the same token, up to roundings of the exponential. -∞ is never drawn unless there is nothing
    /// else; of NaN nothing is promised but a token below V.
    ///
    /// # Errors
    /// [`Error::Shape`] if V is a dim of the call, or `recent` has other rows than `x`; [`Error::Argument`] if a
    /// number is outside what [`Sampling`] says, or a whole number is a product of dims.
    pub fn sample(&mut self, x: ValueId, how: Sampling) -> Result<ValueId> {
        let whole = |name: &'static str, dim: &Dim| match dim.attr() {
            Some(attr) => Ok((name, attr)),
            None => Err(Error::Argument(format!(
                "sample: `{name}` must be a dim of the call, or a constant of 32 bits"
            ))),
        };
        let attrs = [
            ("penalty", how.penalty),
            ("temperature", how.temperature),
            whole("top_k", &how.top_k)?,
            ("top_p", how.top_p),
            ("min_p", how.min_p),
            whole("seed", &how.seed)?,
            whole("step", &how.step)?,
        ];
        self.apply_one(&SAMPLE, &[Some(x), how.recent], &attrs)
    }
}

//! Sums, means, largest and smallest elements and products, along the last axis or any other.
//!
//! Bound by memory. Along the last axis a team of invocations owns a row; any other is walked over by invocations
//! side by side along the last.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::numerics::{Approx, EITHER_NEIGHBOUR, Sum, U32, grain, round_error};
use crate::op::Axis::{B, C, K, R, S};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes};
use crate::ops::elementwise::quotient_error;
use crate::ops::{for_each_row, past_one_axis, rows};
use crate::plan::Numerics;

/// How elements become one. Its number is the ops' attribute `how`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
}

const HOWS: [How; 5] = [How::Sum, How::Mean, How::Max, How::Min, How::Prod];

impl How {
    const fn name(self) -> &'static str {
        ["sum", "mean", "max", "min", "prod"][self as usize]
    }
    fn attr(self) -> (&'static str, Attr) {
        ("how", Attr::U32(self as u32))
    }
}

/// y = the sum (`how` 0), mean (1), largest (2), smallest (3) or product (4) along the last axis; mean,
/// largest and smallest of nothing are 0.
pub static REDUCE: Op = Op {
    name: "reduce",
    formula: "y[r] = how_k x[r, k], how: sum, mean, max, min or product",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, K], FLOATS)],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[("how", AttrKind::U32)],
    infer: infer_last,
    reference: reference_last,
    flops: |s| s.product(&[R, K]),
    kernels: &[&ROW],
    cases: Cases {
        axes: &[(R, 3), (K, 70)],
        weights: &[DType::F32],
        variants: VARIANTS,
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(rows::MOST)), (K, 3)])),
        build: |g, shape| build(g, shape, &REDUCE, &[R, K]),
        fill: |name, shape, rng| fill(name, shape, rng, &[R, K]),
    },
};

/// As `reduce`, along the axes `axis .. axis + count`, which do not include the last.
pub static REDUCE_COLUMNS: Op = Op {
    name: "reduce_columns",
    formula: "y[b, s, c] = how_k x[b, k, s, c], how: sum, mean, max, min or product",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[B, K, S, C], FLOATS)],
    outputs: &[Arg::new("y", &[B, S, C], FLOATS)],
    attrs: &[("how", AttrKind::U32), ("axis", AttrKind::U32), ("count", AttrKind::U32)],
    infer: infer_columns,
    reference: reference_columns,
    flops: |s| s.product(&[B, K, S, C]),
    kernels: &[&COLUMNS],
    cases: Cases {
        axes: &[(B, 2), (K, 5), (S, 3), (C, 7)],
        weights: &[DType::F32],
        variants: VARIANTS,
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(64)), (K, 1), (S, 1), (C, 1)])),
        build: |g, shape| build(g, shape, &REDUCE_COLUMNS, &[B, K, S, C]),
        fill: |name, shape, rng| fill(name, shape, rng, &[B, K, S, C]),
    },
};

static ROW: Kernel = Kernel {
    name: "reduce.row",
    file: "reduce.wgsl",
    source: include_str!("../../shaders/reduce.wgsl"),
    blocks: &[(R, 16), (K, 256)],
    fits: |_| Ok(()),
    knobs: |s| [knobs(s), rows::knobs_apart(s, K)].concat(),
    workgroups: |s| rows::workgroups_apart(s, K),
    cost: |s| Work {
        flops: s.sizes.product(&[R, K]),
        bytes: s.bytes("x") + s.bytes("y"),
        invocations: rows::invocations(s, K),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

static COLUMNS: Kernel = Kernel {
    name: "reduce_columns.walk",
    file: "reduce_columns.wgsl",
    source: include_str!("../../shaders/reduce_columns.wgsl"),
    blocks: &[(B, 16), (C, 256)],
    fits: |_| Ok(()),
    knobs,
    workgroups: |s| {
        let groups = s.size(C).div_ceil(4) as u64;
        Expr::from(s.dim(B).times(&s.dim(S)).times(&Dim::from(groups))).ceil_div(64)
    },
    cost: |s| Work {
        flops: s.sizes.product(&[B, K, S, C]),
        bytes: s.bytes("x") + s.bytes("y"),
        invocations: s.sizes.product(&[B, S, C]) / 4.0,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let how = s.attr_u32("how");
    let neutral = ["0.0", "0.0", "-3.4028234e38", "3.4028234e38", "1.0"][how as usize % 5];
    vec![("HOW", format!("{how}u")), ("NEUTRAL", neutral.into())]
}

/// Fails unless the attribute `how` is one of the five.
fn check_how(i: &Infer<'_>) -> Result<()> {
    match i.attr_u32("how") {
        Some(0..=4) => Ok(()),
        how => Err(Error::Argument(format!(
            "{}: `how` is {}, but it must be from 0 to 4",
            i.op.name,
            how.unwrap_or(u32::MAX)
        ))),
    }
}

fn infer_last(i: &Infer<'_>) -> Result<Inferred> {
    check_how(i)?;
    let (rows, width) = i.rows_and_channels(0)?;
    let x = i.operand(0)?;
    let mut shape = x.shape.clone();
    shape.pop();
    shape.push(Dim::ONE);
    let outputs = vec![(shape, x.dtype)];
    let axes = Axes::new(&[(R, rows), (K, width), (C, Dim::ONE)]);
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

fn infer_columns(i: &Infer<'_>) -> Result<Inferred> {
    check_how(i)?;
    let x = i.operand(0)?;
    let [axis, count] = ["axis", "count"].map(|a| i.attr_u32(a).unwrap_or(0) as usize);
    let (rank, end) = (x.shape.len(), axis.saturating_add(count));
    if count == 0 || end >= rank {
        return Err(Error::Shape(format!(
            "reduce_columns: `x` has {rank} axes, but {count} axes from {axis} on, before the last, were asked for"
        )));
    }
    let mut shape = x.shape.clone();
    shape[axis..end].fill(Dim::ONE);
    let (last, part) = (x.shape[rank - 1].clone(), |axes: &[Dim]| Dim::product(axes));
    let between = rank - 1 - end;
    Ok(Inferred {
        axes: Axes::new(&[
            (B, part(&x.shape[..axis])),
            (K, part(&x.shape[axis..end])),
            (S, part(&x.shape[end..rank - 1])),
            (C, last),
        ]),
        folds: vec![vec![(B, axis), (K, count), (S, between), (C, 1)], vec![(B, end), (S, between), (C, 1)]],
        outputs: vec![(shape, x.dtype)],
    })
}

// A sum has the sum's bound, and a mean a division more. A largest or smallest element is one of
// them, and as far off as any. A product rounds once per factor, unless its significand fits 24 bits,
// and then so does that of any part of it; a part that is no normal number may be flushed.
fn reduced(how: How, elements: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let (mut sum, mut count, mut worst) = (Sum::new(), 0u32, 0f64);
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    let (mut product, mut bound, mut small, mut large) = (1.0, 1.0, 1f64, 1f64);
    for (v, e) in elements {
        sum.add(v, e);
        (count, worst) = (count + 1, worst.max(e));
        (least, most) = (least.min(v), most.max(v));
        product *= v;
        bound *= v.abs() + e;
        small *= if v == 0.0 { 1.0 } else { v.abs().min(1.0) };
        large *= (v.abs() + e).max(1.0);
    }
    match how {
        How::Sum => sum.finish(),
        How::Mean => {
            let (total, e) = sum.finish();
            let n = f64::from(count.max(1));
            (total / n, round_error(total / n, e / n + quotient_error(total / n)))
        }
        How::Max | How::Min if count == 0 => (0.0, 0.0),
        How::Max => (most, worst),
        How::Min => (least, worst),
        How::Prod => {
            // A part that leaves f32 leaves nothing of the product.
            if large > DType::F32.max_finite() {
                return (product, f64::INFINITY);
            }
            let exact = product.abs() <= grain(product) * 16_777_216.0;
            let rounding = if exact { 0.0 } else { f64::from(count) * EITHER_NEIGHBOUR * U32 };
            let flushed =
                if small < DType::F32.min_normal() { product.abs() + DType::F32.min_normal() } else { 0.0 };
            (product, (bound - product.abs()).max(0.0) + bound * rounding + flushed)
        }
    }
}

fn how(c: &RefCall<'_>) -> How {
    HOWS[c.attr("how") as usize % HOWS.len()]
}

fn reference_last(c: &RefCall<'_>) -> Vec<Approx> {
    let (x, how, width) = (c.input(0), how(c), c.sizes.get(K));
    let rows = c.sizes.get(R);
    let mut out = Approx::exact(&[rows, 1], vec![0.0; rows]);
    for_each_row(1, &mut out.value, &mut out.error, x.value.len() * 8, |row, value, error| {
        (value[0], error[0]) = reduced(how, (row * width..(row + 1) * width).map(|i| x.at(i)));
    });
    vec![out]
}

fn reference_columns(c: &RefCall<'_>) -> Vec<Approx> {
    let (x, how) = (c.input(0), how(c));
    let [b, k, s, width] = [B, K, S, C].map(|a| c.sizes.get(a));
    let mut out = Approx::exact(&[b, s, width], vec![0.0; b * s * width]);
    for_each_row(width, &mut out.value, &mut out.error, x.value.len() * 8, |row, value, error| {
        let at = |i: usize, k_: usize| ((row / s * k + k_) * s + row % s) * width + i;
        for i in 0..width {
            (value[i], error[i]) = reduced(how, (0..k).map(|k_| x.at(at(i, k_))));
        }
    });
    vec![out]
}

const VARIANTS: &[&str] = &["sum", "mean", "max", "min", "prod", "sum_scaled"];

fn build(g: &mut Graph, shape: &Shape, op: &'static Op, axes: &[crate::op::Axis]) -> Result<()> {
    let dims: Vec<_> = axes.iter().map(|a| Dim::from(shape.sizes.get(*a))).collect();
    let mut x = g.input("x", shape.x, &dims)?;
    if shape.variant == 5 {
        x = g.scale(x, Attr::F32(0.5))?;
        let other = g.input("other", shape.x, &dims)?;
        x = g.add(x, other)?;
    }
    let mut attrs = vec![HOWS[shape.variant % 5].attr()];
    if op == &REDUCE_COLUMNS {
        attrs.extend([("axis", Attr::U32(1)), ("count", Attr::U32(1))]);
    }
    let mut y = g.apply_one(op, &[Some(x)], &attrs)?;
    if shape.variant == 5 {
        y = g.scale(y, Attr::F32(-2.0))?;
    }
    g.output("y", y)
}

/// Factors near 1, so that long products stay in range.
fn fill(name: &str, shape: &Shape, rng: &mut crate::rng::Rng, axes: &[crate::op::Axis]) -> Option<Vec<f64>> {
    let n = axes.iter().map(|a| shape.sizes.get(*a)).product();
    let one = |sign: f64, v: f64| sign.signum() * (0.9 + 0.2 * v);
    (name == "x" && shape.variant == 4).then(|| (0..n).map(|_| one(rng.signed(), rng.unit())).collect())
}

macro_rules! methods {
    ($($method:ident $how:ident $doc:literal),*) => {
        $(
            #[doc = $doc]
            /// The axes stay with size 1 if `keep`, else they go; of no axis at all `[1]` is left.
            ///
            /// # Errors
            /// [`Error::Shape`] if an axis does not exist, is named twice, or none is; for `mean`, `max`
            /// and `min` also if one has the fixed size 0.
            pub fn $method(&mut self, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
                self.reduce(How::$how, x, axes, keep)
            }
        )*
    };
}

impl Graph {
    methods! {
        sum Sum "The sum along some axes.",
        mean Mean "The mean along some axes. Of a size that a call makes 0 it is 0.",
        max Max "The largest element along some axes. Of a size that a call makes 0 it is 0.",
        min Min "The smallest element along some axes. Of a size that a call makes 0 it is 0.",
        prod Prod "The product along some axes."
    }

    /// Neighbouring axes go at once, from the last: those before the last axis in one step, the last
    /// axis in a step of its own unless its rows lie tight.
    fn reduce(&mut self, how: How, x: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
        self.has(x)?;
        let shape = self.value(x).shape.clone();
        let axes = checked_axes(self, how, &shape, axes)?;
        let number = |n: usize| Attr::U32(u32::try_from(n).unwrap_or(u32::MAX));
        // What one step leaves for the next stays f32.
        let dtype = self.value(x).dtype;
        let neighbours = axes.windows(2).all(|w| w[0] + 1 == w[1]);
        let ends_last = axes.len() > 1 && axes.ends_with(&[shape.len() - 1]);
        let wide = if neighbours && !ends_last { dtype } else { DType::F32 };
        let (mut y, mut end) = (self.cast(x, wide)?, axes.len());
        while end > 0 {
            let last = axes[end - 1];
            let run = (1..end).rev().take_while(|i| axes[*i - 1] + 1 == axes[*i]).count();
            let start = end - 1 - run;
            if last + 1 == shape.len() {
                // Rows of whole groups of four, in any type, lie tight.
                let tight = shape[last].divided_by(8).is_some();
                let first = if tight { axes[start] } else { last };
                let joined = [&shape[..first], &[Dim::product(&shape[first..])]].concat();
                y = if first == last { y } else { self.reshape(y, &joined)? };
                y = self.apply_one(&REDUCE, &[Some(y)], &[how.attr()])?;
                let units = vec![Dim::ONE; shape.len() - first];
                y = if first == last { y } else { self.reshape(y, &[&shape[..first], &units].concat())? };
                end = if tight { start } else { end - 1 };
                continue;
            }
            let attrs = [how.attr(), ("axis", number(axes[start])), ("count", number(end - start))];
            y = self.apply_one(&REDUCE_COLUMNS, &[Some(y)], &attrs)?;
            end = start;
        }
        let y = self.cast(y, dtype)?;
        if keep {
            return Ok(y);
        }
        let kept = shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d.clone());
        let mut kept: Vec<_> = kept.collect();
        if kept.is_empty() {
            kept.push(Dim::ONE);
        }
        self.reshape(y, &kept)
    }
}

fn checked_axes(g: &Graph, how: How, shape: &[Dim], axes: &[usize]) -> Result<Vec<usize>> {
    let wrong = |text: String| Err(Error::Shape(format!("{}: {text}", how.name())));
    if axes.is_empty() {
        return wrong("no axis was named".into());
    }
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|w| w[0] == w[1]) {
        return wrong(format!("axis {} was named twice", twice[0]));
    }
    if let Some(axis) = sorted.iter().find(|a| **a >= shape.len()) {
        return wrong(format!("`x` has {} axes, but axis {axis} was named", shape.len()));
    }
    let of_nothing = sorted.iter().find(|a| shape[**a].constant() == Some(0));
    if let (Some(axis), How::Mean | How::Max | How::Min) = (of_nothing, how) {
        return wrong(format!(
            "axis {axis} of {} has size 0, and of nothing there is no {}",
            g.show_dims(shape),
            how.name()
        ));
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests;

//! Layer normalisation over the last axis (Ba, Kiros and Hinton 2016).
//!
//! Bound by memory: a row is read once and held in registers. What is added or scaled before it joins its
//! load: that is how a residual gets in.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::{Approx, EITHER_NEIGHBOUR, Sum, U32, inverse_sqrt, round_error, sum_error};
use crate::op::Axis::{C, R};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape};
use crate::ops::elementwise::{DIVISION, quotient_error};
use crate::ops::for_each_row;
use crate::ops::rows::{self, split, split::Find};
use crate::plan::Numerics;

/// y = (x - mean) / sqrt(variance + eps) · w + b over the last axis, whose squares must not leave f32.
pub static LAYER_NORM: Op = Op {
    name: "layer_norm",
    formula: "y[r, c] = (x[r, c] - mean_c x) / sqrt(var_c x + eps) · w[c] + b[c]",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], FLOATS), Arg::new("w", &[C], FLOATS), Arg::new("b", &[C], FLOATS)],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[("eps", AttrKind::F32)],
    infer,
    reference,
    flops: |s| 8.0 * s.product(&[R, C]),
    kernels: &[&ROW, &SPLIT],
    cases: Cases {
        axes: &[(R, 3), (C, 70)],
        weights: &[DType::F32, DType::F16],
        variants: &["plain", "residual", "then_gelu"],
        applies: |_| true,
        many_workgroups: rows::many_workgroups,
        build,
        fill: |_, _, _| None,
    },
};

static ROW: Kernel = Kernel {
    name: "layer_norm.row",
    file: "layer_norm.wgsl",
    source: include_str!("../../shaders/layer_norm.wgsl"),
    blocks: &[(R, 4), (C, rows::REACH)],
    fits: |_| Ok(()),
    knobs: |s| rows::knobs(s, C),
    workgroups: |s| rows::workgroups(s, C),
    cost: |s| Work {
        flops: 10.0 * s.sizes.product(&[R, C]),
        bytes: s.bytes("x") * (1.0 + 2.0 * rows::again(s, C)) + s.bytes("y") + s.bytes("w") + s.bytes("b"),
        invocations: rows::invocations(s, C),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

static SPLIT: Kernel = Kernel {
    name: "layer_norm.split",
    file: "layer_norm_split.wgsl",
    source: include_str!("../../shaders/layer_norm_split.wgsl"),
    cost: |s| split::cost(s, (ROW.cost)(s), 2),
    first: &[&SUMS, &SPREADS],
    ..split::LAST
};

static SUMS: Kernel =
    Kernel { name: "layer_norm.split_sums", knobs: |s| split::pass(s, Find::Sum), ..split::PASS };

static SPREADS: Kernel =
    Kernel { name: "layer_norm.split_spreads", knobs: |s| split::pass(s, Find::Spread), ..split::PASS };

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, channels) = i.rows_and_channels(0)?;
    for arg in [1, 2] {
        i.same(C, (0, &channels), (arg, &i.rank(arg, 1)?[0]))?;
    }
    if let Some((_, Attr::F32(eps))) = i.attrs.iter().find(|(name, _)| *name == "eps")
        && !(1e-30..1e30).contains(eps)
    {
        return Err(Error::Argument(format!("layer_norm: `eps` is {eps}, but it must be at least 1e-30")));
    }
    let x = i.operand(0)?;
    let outputs = vec![(x.shape.clone(), x.dtype)];
    Ok(Inferred { axes: Axes::new(&[(R, rows), (C, channels)]), folds: i.folds(&outputs), outputs })
}

// Each row by itself, then what is scaled and shifted.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (x, w, b) = (c.input(0), c.input(1), c.input(2));
    let (width, eps) = (c.sizes.get(C), c.attr("eps"));
    let mut out = x.clone();
    for_each_row(width, &mut out.value, &mut out.error, x.value.len() * 8, |_, value, error| {
        if normal_row(value, error, eps) {
            for i in 0..width {
                (value[i], error[i]) = scaled((value[i], error[i]), w.at(i), b.at(i));
            }
        }
    });
    vec![out]
}

/// A row minus its mean, over the root of its variance and eps; `false`, and nothing known of it, where its
/// squares leave f32.
// mean: the sum's bound and a division. d = x - mean: inherits both. variance: the sum of d², 2|d|e
// inherited, a division. 1/sqrt: bounded on the interval of the variance (eps keeps it from 0), and 2 ulp.
pub(crate) fn normal_row(value: &mut [f64], error: &mut [f64], eps: f64) -> bool {
    let (width, round) = (value.len(), EITHER_NEIGHBOUR * U32);
    let mut sum = Sum::new();
    value.iter().zip(error.iter()).for_each(|(v, e)| sum.add(*v, *e));
    let (total, total_error) = sum.finish();
    let mean = total / width as f64;
    let mean_error = total_error / width as f64 + quotient_error(mean);
    let (mut squares, mut inherited) = (0.0, 0.0);
    for (v, e) in value.iter_mut().zip(error.iter_mut()) {
        let d = *v - mean;
        (*v, *e) = (d, round_error(d, *e + mean_error));
        squares += d * d;
        inherited += 2.0 * d.abs() * *e + *e * *e;
    }
    // Squares that leave f32 leave nothing of the row.
    if squares > DType::F32.max_finite() {
        error.fill(f64::INFINITY);
        return false;
    }
    let spread = squares / width as f64 + eps;
    let relative = DIVISION + 2.0 * round;
    let spread_error = (sum_error(width as u64, squares, 0.0) + inherited) / width as f64 + relative * spread;
    let (scale, scale_error) = inverse_sqrt(spread, spread_error, eps * (1.0 - 4.0 * relative));
    for (v, e) in value.iter_mut().zip(error) {
        let normal = *v * scale;
        *e = *e * (scale + scale_error) + v.abs() * scale_error + round * normal.abs();
        *v = normal;
    }
    true
}

/// v·gain + shift, of errors that are not exact: a product, a sum.
pub(crate) fn scaled((v, e): (f64, f64), (g, ge): (f64, f64), (shift, be): (f64, f64)) -> (f64, f64) {
    let product = v * g;
    let e = e * (g.abs() + ge) + v.abs() * ge + EITHER_NEIGHBOUR * U32 * product.abs();
    (product + shift, round_error(product + shift, e + be))
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let (rows, channels) = (shape.sizes.get(R), shape.sizes.get(C));
    let mut x = g.input("x", shape.x, &[rows.into(), channels.into()])?;
    let w = g.weight("w", shape.w, &[channels])?;
    let b = g.weight("b", shape.w, &[channels])?;
    if shape.variant == 1 {
        let residual = g.input("residual", shape.x, &[rows.into(), channels.into()])?;
        x = g.add(x, residual)?;
    }
    let mut y = g.layer_norm(x, w, b, 1e-5)?;
    if shape.variant == 2 {
        y = g.gelu(y)?;
    }
    g.output("y", y)
}

impl Graph {
    /// Normalises the last axis: `x [.., C]`, gain `w [C]`, shift `b [C]`. Add before it what belongs
    /// before it (a residual); the planner fuses.
    ///
    /// # Errors
    /// [`Error::Shape`] if `w` or `b` is not `[C]`.
    pub fn layer_norm(&mut self, x: ValueId, w: ValueId, b: ValueId, eps: f32) -> Result<ValueId> {
        self.apply_one(&LAYER_NORM, &[Some(x), Some(w), Some(b)], &[("eps", Attr::F32(eps))])
    }
}

//! Normalisation by the root mean square of the last axis (Zhang and Sennrich 2019).
//!
//! Bound by memory. What is added or scaled before it joins its load, as with `layer_norm`.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::{Approx, EITHER_NEIGHBOUR, Sum, U32, inverse_sqrt, round_error};
use crate::op::Axis::{C, R};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape};
use crate::ops::elementwise::DIVISION;
use crate::ops::for_each_row;
use crate::ops::rows::{self, split, split::Find};
use crate::plan::Numerics;

/// y = x / sqrt(mean x² + eps) · w over the last axis, whose squares must not leave f32.
pub static RMS_NORM: Op = Op {
    name: "rms_norm",
    formula: "y[r, c] = x[r, c] / sqrt(mean_c(x[r, c]²) + eps) · w[c]",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], FLOATS), Arg::new("w", &[C], FLOATS)],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[("eps", AttrKind::F32)],
    infer,
    reference,
    flops: |s| 4.0 * s.product(&[R, C]),
    kernels: &[&ROW, &SPLIT],
    cases: Cases {
        axes: &[(R, 3), (C, 70)],
        weights: &[DType::F32, DType::F16],
        variants: &["plain", "residual"],
        applies: |_| true,
        many_workgroups: rows::many_workgroups,
        build,
        fill: |_, _, _| None,
    },
};

static ROW: Kernel = Kernel {
    name: "rms_norm.row",
    file: "rms_norm.wgsl",
    source: include_str!("../../shaders/rms_norm.wgsl"),
    blocks: &[(R, 4), (C, rows::REACH)],
    fits: |_| Ok(()),
    knobs: |s| rows::knobs(s, C),
    workgroups: |s| rows::workgroups(s, C),
    cost: |s| Work {
        flops: 5.0 * s.sizes.product(&[R, C]),
        bytes: s.bytes("x") * (1.0 + rows::again(s, C)) + s.bytes("y") + s.bytes("w"),
        invocations: rows::invocations(s, C),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

static SPLIT: Kernel = Kernel {
    name: "rms_norm.split",
    file: "rms_norm_split.wgsl",
    source: include_str!("../../shaders/rms_norm_split.wgsl"),
    cost: |s| split::cost(s, (ROW.cost)(s), 1),
    scratch: split::ONE_PASS,
    first: &[&SQUARES],
    ..split::LAST
};

static SQUARES: Kernel =
    Kernel { name: "rms_norm.split_squares", knobs: |s| split::pass(s, Find::Squares), ..split::PASS };

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, channels) = i.rows_and_channels(0)?;
    i.same(C, (0, &channels), (1, &i.rank(1, 1)?[0]))?;
    if let Some((_, Attr::F32(eps))) = i.attrs.iter().find(|(name, _)| *name == "eps")
        && !(1e-30..1e30).contains(eps)
    {
        return Err(Error::Argument(format!("rms_norm: `eps` is {eps}, but it must be at least 1e-30")));
    }
    let x = i.operand(0)?;
    let outputs = vec![(x.shape.clone(), x.dtype)];
    Ok(Inferred { axes: Axes::new(&[(R, rows), (C, channels)]), folds: i.folds(&outputs), outputs })
}

// The sum's bound, a division, a sum; 1/sqrt on the interval of that and 2 ulp; two products.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (x, w) = (c.input(0), c.input(1));
    let (width, eps) = (c.sizes.get(C), c.attr("eps"));
    let round = EITHER_NEIGHBOUR * U32;
    let relative = DIVISION + 2.0 * round;
    let mut out = x.clone();
    for_each_row(width, &mut out.value, &mut out.error, x.value.len() * 4, |_, value, error| {
        let mut sum = Sum::new();
        value.iter().zip(&*error).for_each(|(v, e)| sum.add(v * v, 2.0 * v.abs() * e + e * e));
        let (squares, squares_error) = sum.finish();
        // Squares that leave f32 leave nothing of the row.
        if squares > DType::F32.max_finite() {
            return error.fill(f64::INFINITY);
        }
        let mean = squares / width as f64 + eps;
        let mean_error = squares_error / width as f64 + relative * mean;
        let (scale, scale_error) = inverse_sqrt(mean, mean_error, eps * (1.0 - 4.0 * relative));
        for (i, (v, e)) in value.iter_mut().zip(error).enumerate() {
            let (g, ge) = w.at(i);
            let normal = *v * scale;
            let off = *e * (scale + scale_error) + v.abs() * scale_error + round * normal.abs();
            *v = normal * g;
            *e = round_error(*v, off * (g.abs() + ge) + normal.abs() * ge);
        }
    });
    vec![out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let (rows, channels) = (shape.sizes.get(R), shape.sizes.get(C));
    let mut x = g.input("x", shape.x, &[rows.into(), channels.into()])?;
    let w = g.weight("w", shape.w, &[channels])?;
    if shape.variant == 1 {
        let residual = g.input("residual", shape.x, &[rows.into(), channels.into()])?;
        x = g.add(x, residual)?;
    }
    let y = g.rms_norm(x, w, 1e-5)?;
    g.output("y", y)
}

impl Graph {
    /// Normalises the last axis by its root mean square: `x [.., C]`, gain `w [C]`. Add before it what
    /// belongs before it (a residual); the planner fuses.
    ///
    /// # Errors
    /// [`Error::Shape`] if `w` is not `[C]`; [`Error::Argument`] if `eps` is below 1e-30.
    pub fn rms_norm(&mut self, x: ValueId, w: ValueId, eps: f32) -> Result<ValueId> {
        self.apply_one(&RMS_NORM, &[Some(x), Some(w)], &[("eps", Attr::F32(eps))])
    }
}

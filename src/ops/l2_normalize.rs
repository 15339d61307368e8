//! Scaling the last axis to length 1.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::{Approx, EITHER_NEIGHBOUR, Sum, U32, round_error};
use crate::op::Axis::{C, R};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape};
use crate::ops::elementwise::{DIVISION, quotient_error};
use crate::ops::for_each_row;
use crate::ops::rows::{self, split, split::Find};
use crate::plan::Numerics;

/// y = x / max(‖x‖, eps) over the last axis.
pub static L2_NORMALIZE: Op = Op {
    name: "l2_normalize",
    formula: "y[r, c] = x[r, c] / max(sqrt(Σ_c x[r, c]²), eps), eps ≥ 1e-18",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], FLOATS)],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[("eps", AttrKind::F32)],
    infer,
    reference,
    flops: |s| 3.0 * s.product(&[R, C]),
    kernels: &[&ROW, &SPLIT],
    cases: Cases {
        axes: &[(R, 3), (C, 70)],
        weights: &[DType::F32],
        variants: &["plain", "of_a_product"],
        applies: |_| true,
        many_workgroups: rows::many_workgroups,
        build,
        fill: |_, _, _| None,
    },
};

static ROW: Kernel = Kernel {
    name: "l2_normalize.row",
    file: "l2_normalize.wgsl",
    source: include_str!("../../shaders/l2_normalize.wgsl"),
    blocks: &[(R, 4), (C, rows::REACH)],
    fits: |_| Ok(()),
    knobs: |s| rows::knobs(s, C),
    workgroups: |s| rows::workgroups(s, C),
    cost: |s| Work {
        flops: 4.0 * s.sizes.product(&[R, C]),
        bytes: s.bytes("x") * (1.0 + rows::again(s, C)) + s.bytes("y"),
        invocations: rows::invocations(s, C),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

static SPLIT: Kernel = Kernel {
    name: "l2_normalize.split",
    file: "l2_normalize_split.wgsl",
    source: include_str!("../../shaders/l2_normalize_split.wgsl"),
    cost: |s| split::cost(s, (ROW.cost)(s), 1),
    scratch: split::ONE_PASS,
    first: &[&SQUARES],
    ..split::LAST
};

static SQUARES: Kernel =
    Kernel { name: "l2_normalize.split_squares", knobs: |s| split::pass(s, Find::Squares), ..split::PASS };

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, channels) = i.rows_and_channels(0)?;
    if let Some((_, Attr::F32(eps))) = i.attrs.iter().find(|(name, _)| *name == "eps")
        && !(1e-18..1e18).contains(eps)
    {
        return Err(Error::Argument(format!("l2_normalize: `eps` is {eps}, but it must be at least 1e-18")));
    }
    let x = i.operand(0)?;
    let outputs = vec![(x.shape.clone(), x.dtype)];
    Ok(Inferred { axes: Axes::new(&[(R, rows), (C, channels)]), folds: i.folds(&outputs), outputs })
}

// Each row by itself.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let mut out = c.input(0).clone();
    let work = out.value.len() * 4;
    for_each_row(c.sizes.get(C), &mut out.value, &mut out.error, work, |_, value, error| {
        unit_row(value, error, c.attr("eps"));
    });
    vec![out]
}

/// A row over its length, or over eps if that is more.
// The sum's bound; the root halves it and costs 1/inverseSqrt: 2 ulp and a division; a division.
// Squares below f32's normal numbers may vanish, which `Sum` allows per term; they are below eps²
// unless everything is.
pub(crate) fn unit_row(value: &mut [f64], error: &mut [f64], eps: f64) {
    let mut sum = Sum::new();
    value.iter().zip(error.iter()).for_each(|(v, e)| sum.add(v * v, 2.0 * v.abs() * e + e * e));
    let (squares, squares_error) = sum.finish();
    // Squares that leave f32 leave nothing of the row.
    if squares > DType::F32.max_finite() {
        return error.fill(f64::INFINITY);
    }
    let norm = squares.sqrt().max(eps);
    let least = (squares - squares_error).max(0.0).sqrt().max(eps);
    let most = (squares + squares_error).sqrt().max(eps);
    let root = 2.0 * EITHER_NEIGHBOUR * U32 + DIVISION;
    let norm_error = (most - norm).max(norm - least) + root * most;
    for (v, e) in value.iter_mut().zip(error) {
        let y = *v / norm;
        let inherited = (*e + y.abs() * norm_error) / (norm - norm_error).max(eps * 0.5);
        *e = round_error(y, inherited + quotient_error(y));
        *v = y;
    }
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let dims = [shape.sizes.get(R).into(), shape.sizes.get(C).into()];
    let mut x = g.input("x", shape.x, &dims)?;
    if shape.variant == 1 {
        let other = g.input("other", shape.x, &dims)?;
        x = g.mul(x, other)?;
    }
    let y = g.l2_normalize(x, 1e-12)?;
    g.output("y", y)
}

impl Graph {
    /// Scales the last axis to length 1: x / max(‖x‖, eps). Rows of zeros stay zero.
    ///
    /// # Errors
    /// [`Error::Argument`] if `eps` is below 1e-18, whose square leaves f32.
    pub fn l2_normalize(&mut self, x: ValueId, eps: f32) -> Result<ValueId> {
        self.apply_one(&L2_NORMALIZE, &[Some(x)], &[("eps", Attr::F32(eps))])
    }
}

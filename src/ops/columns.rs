//! Columns of a tensor by index: another order of the last axis.

use crate::dim::Dim;
use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::Approx;
use crate::op::Axis::{C, R};
use crate::op::{Arg, Attr, Axes, Cases, INDEX, Infer, Inferred, Kind, NUMBERS, Op, RefCall, Shape, Sizes};
use crate::ops::{by_groups, past_one_axis};
use crate::plan::Numerics;

/// y[.., c] = x[.., idx\[c\]]; an index past the end gives 0.
pub static COLUMNS: Op = Op {
    name: "columns",
    formula: "y[r, c] = x[r, idx[c]], an index past the end giving 0",
    kind: Kind::Compute,
    // Its number tells its sizes from the result's.
    inputs: &[Arg::new("x1", &[R, C], NUMBERS), Arg::new("idx", &[C], INDEX)],
    outputs: &[Arg::new("y", &[R, C], NUMBERS)],
    attrs: &[],
    infer,
    reference,
    flops: |_| 0.0,
    kernels: &[&PICK],
    cases: Cases {
        axes: &[(R, 3), (C, 5)],
        weights: &[crate::DType::F32],
        variants: &["plain", "scaled"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(64)), (C, 1)])),
        build,
        fill: |name, shape, rng| {
            let past = width(shape) + 2;
            (name == "idx").then(|| (0..shape.sizes.get(C)).map(|_| rng.below(past) as f64).collect())
        },
    },
};

/// The columns of a case's operand: fewer than its result has, so that some are read twice.
fn width(shape: &Shape) -> u64 {
    shape.sizes.get(C) as u64 / 2 + 1
}

static PICK: Kernel = Kernel {
    name: "columns.pick",
    file: "columns.wgsl",
    source: include_str!("../../shaders/columns.wgsl"),
    blocks: &[(R, 16), (C, 64)],
    workgroups: by_groups,
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]) * 4.0,
        bytes: s.bytes("x1") * 4.0 + s.bytes("y"),
        invocations: s.sizes.product(&[R, C]) / 4.0,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, _) = i.rows_and_channels(0)?;
    let x = i.operand(0)?;
    let columns = i.rank(1, 1)?[0].clone();
    let leading = x.shape.len() - 1;
    let shape = [&x.shape[..leading], std::slice::from_ref(&columns)].concat();
    let outputs = vec![(shape, x.dtype)];
    let axes = Axes::new(&[(R, rows), (C, columns)]);
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (x, idx) = (c.input(0), c.input(1));
    let (rows, width) = (c.sizes.get(R), x.shape.last().copied().unwrap_or(0));
    let mut out = Approx::exact(&c.shape, vec![0.0; rows * idx.value.len()]);
    for (i, (value, error)) in out.value.iter_mut().zip(&mut out.error).enumerate() {
        let (r, from) = (i / idx.value.len(), idx.value[i % idx.value.len()] as usize);
        if from < width {
            (*value, *error) = x.at(r * width + from);
        }
    }
    vec![out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let (rows, columns) = (shape.sizes.get(R) as u64, shape.sizes.get(C) as u64);
    let x = g.input("x1", shape.x, &[Dim::from(rows), Dim::from(width(shape))])?;
    let idx = g.input("idx", crate::DType::U32, &[columns.into()])?;
    let mut y = g.columns(x, idx)?;
    if shape.variant == 1 {
        y = g.scale(y, Attr::F32(0.5))?;
    }
    g.output("y", y)
}

impl Graph {
    /// Columns of `x` by index, in the order of `idx` (u32, one axis): `x [.., C]` with `idx [D]` gives `[..,
    /// D]`. An index past the end gives zeros, so that a row can also be filled up.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if `x` has no axis or `idx` not one;
    /// [`Error::Argument`](crate::Error::Argument) for types.
    pub fn columns(&mut self, x: ValueId, idx: ValueId) -> Result<ValueId> {
        self.apply_one(&COLUMNS, &[Some(x), Some(idx)], &[])
    }
}

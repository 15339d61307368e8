//! One of two tensors, element by element, by a third.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::Approx;
use crate::op::Axis::{C, R};
use crate::op::{Arg, Axes, Cases, FLOATS, Infer, Inferred, Kind, NUMBERS, Op, RefCall, Shape, Sizes};
use crate::ops::{parts, past_one_axis};
use crate::plan::Numerics;

/// y = a where cond is not 0, else b.
pub static WHERE: Op = Op {
    name: "where",
    formula: "y[r, c] = a[r, c] where cond[r, c] ≠ 0, else b[r, c]",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("cond", &[R, C], NUMBERS),
        Arg::new("a", &[R, C], FLOATS),
        Arg::new("b", &[R, C], NUMBERS),
    ],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[],
    infer,
    reference,
    flops: |s| s.product(&[R, C]),
    kernels: &[&ROWS],
    cases: Cases {
        axes: &[(R, 3), (C, 5)],
        weights: &[DType::F32],
        variants: &["full", "rows", "columns", "by_u8"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(64)), (C, 1)])),
        build,
        fill: |name, shape, rng| {
            let n = shape.sizes.get(R) * if shape.variant == 2 { 1 } else { shape.sizes.get(C) };
            (name == "cond").then(|| (0..n).map(|_| rng.below(2) as f64).collect())
        },
    },
};

static ROWS: Kernel = Kernel {
    name: "where.rows",
    file: "where.wgsl",
    source: include_str!("../../shaders/where.wgsl"),
    blocks: &[(R, 16), (C, 64), (C, 256)],
    fits: |_| Ok(()),
    knobs: parts::knobs,
    workgroups: parts::workgroups,
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]),
        bytes: ["cond", "a", "b", "y"].map(|name| s.bytes(name)).iter().sum(),
        invocations: parts::invocations(s),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let a = i.operand(1)?.clone();
    for at in [0, 2] {
        if i.operand(at)?.shape != a.shape {
            return Err(Error::Shape(format!(
                "where: `{}` is {}, but `a` is {}: use `Graph::select`, which broadcasts",
                i.op.inputs[at].name,
                i.show(&i.operand(at)?.shape),
                i.show(&a.shape)
            )));
        }
    }
    let (rows, channels) = i.rows_and_channels(1)?;
    let outputs = vec![(a.shape.clone(), a.dtype)];
    Ok(Inferred { axes: Axes::new(&[(R, rows), (C, channels)]), folds: i.folds(&outputs), outputs })
}

// A choice rounds nothing. A condition that may be 0 allows whatever lies between both.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (cond, a, b) = (c.input(0), c.input(1), c.input(2));
    let mut out = a.clone();
    for i in 0..out.value.len() {
        let ((holds, vague), (x, ex), (y, ey)) = (cond.at(i), a.at(i), b.at(i));
        let (v, e, other, other_error) = if holds != 0.0 { (x, ex, y, ey) } else { (y, ey, x, ex) };
        out.value[i] = v;
        out.error[i] =
            if vague > 0.0 && vague >= holds.abs() { e.max((v - other).abs() + other_error) } else { e };
    }
    vec![out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let dims = [shape.sizes.get(R).into(), shape.sizes.get(C).into()];
    let one = [shape.sizes.get(R).into(), 1.into()];
    let (cond_type, b_type) = if shape.variant == 3 { (DType::U8, DType::I8) } else { (shape.x, shape.x) };
    let cond = g.input("cond", cond_type, if shape.variant == 2 { &one } else { &dims })?;
    let a = g.input("a", shape.x, if shape.variant == 1 { &dims[1..] } else { &dims })?;
    let b = g.input("b", b_type, if shape.variant == 1 { &one } else { &dims })?;
    let y = g.select(cond, a, b)?;
    g.output("y", y)
}

impl Graph {
    /// `a` where `cond` is not 0, else `b`; numpy's `where`. All three are broadcast to one shape, and
    /// the result has the type of `a`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not go together, [`Error::Argument`] for types.
    pub fn select(&mut self, cond: ValueId, a: ValueId, b: ValueId) -> Result<ValueId> {
        let shape = self.broadcast_shape("where", &[cond, a, b])?;
        let [cond, a, b] = [self.expand(cond, &shape)?, self.expand(a, &shape)?, self.expand(b, &shape)?];
        self.apply_one(&WHERE, &[Some(cond), Some(a), Some(b)], &[])
    }
}

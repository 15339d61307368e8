//! The mean of each sequence over its own length.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::{Approx, Sum, round_error};
use crate::op::Axis::{B, C, S};
use crate::op::{Arg, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes};
use crate::ops::elementwise::quotient_error;
use crate::ops::{for_each_row, past_one_axis};
use crate::plan::Numerics;

/// `y[b]` is the mean of `x[b, s]` over `s < lengths[b]`; 0 for a length of 0.
pub static MEAN_POOL: Op = Op {
    name: "mean_pool",
    formula: "y[b, c] = Σ_{s < lengths[b]} x[b, s, c] / lengths[b], 0 if lengths[b] = 0",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[B, S, C], FLOATS), Arg::new("lengths", &[B], INDEX)],
    outputs: &[Arg::new("y", &[B, C], FLOATS)],
    attrs: &[],
    infer,
    reference,
    flops: |s| s.product(&[B, S, C]),
    kernels: &[&COLUMNS],
    cases: Cases {
        axes: &[(B, 2), (S, 5), (C, 7)],
        weights: &[DType::F32],
        variants: &["plain", "then_scale"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(64)), (S, 1), (C, 1)])),
        build,
        fill: |name, shape, rng| {
            let longest = shape.sizes.get(S) as u64;
            let one = |_| rng.below(longest + 1) as f64;
            (name == "lengths").then(|| (0..shape.sizes.get(B)).map(one).collect())
        },
    },
};

static COLUMNS: Kernel = Kernel {
    name: "mean_pool.columns",
    file: "mean_pool.wgsl",
    source: include_str!("../../shaders/mean_pool.wgsl"),
    blocks: &[(B, 16), (C, 256)],
    fits: |_| Ok(()),
    knobs: |_| Vec::new(),
    workgroups: |s| {
        let groups = s.size(C).div_ceil(4) as u64;
        Expr::from(s.dim(B).times(&Dim::from(groups))).ceil_div(64)
    },
    cost: |s| Work {
        flops: s.sizes.product(&[B, S, C]),
        bytes: s.bytes("x") + s.bytes("y"),
        invocations: s.sizes.product(&[B, C]) / 4.0,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let x = i.rank(0, 3)?.to_vec();
    i.same(B, (0, &x[0]), (1, &i.rank(1, 1)?[0]))?;
    let outputs = vec![(vec![x[0].clone(), x[2].clone()], i.operand(0)?.dtype)];
    let axes = Axes::new(&[(B, x[0].clone()), (S, x[1].clone()), (C, x[2].clone())]);
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

// The sum's bound and a division.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (x, lengths) = (c.input(0), c.input(1));
    let (batch, rows, width) = (c.sizes.get(B), c.sizes.get(S), c.sizes.get(C));
    let mut out = Approx::exact(&[batch, width], vec![0.0; batch * width]);
    for_each_row(width, &mut out.value, &mut out.error, x.value.len() * 4, |b, value, error| {
        let length = (lengths.value[b] as usize).min(rows);
        for i in 0..width {
            let mut sum = Sum::new();
            for s in 0..length {
                let (v, e) = x.at((b * rows + s) * width + i);
                sum.add(v, e);
            }
            let (total, e) = sum.finish();
            let n = length.max(1) as f64;
            value[i] = total / n;
            error[i] = round_error(value[i], e / n + quotient_error(value[i]));
        }
    });
    vec![out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, s, c] = [B, S, C].map(|a| Dim::from(shape.sizes.get(a)));
    let x = g.input("x", shape.x, &[b.clone(), s, c])?;
    let lengths = g.input("lengths", DType::U32, &[b])?;
    let mut y = g.mean_pool(x, lengths)?;
    if shape.variant == 1 {
        y = g.scale(y, crate::op::Attr::F32(1.5))?;
    }
    g.output("y", y)
}

impl Graph {
    /// The mean over each sequence: `x [B, S, C]`, `lengths [B]` (u32; more than S counts as S).
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if the batches differ.
    pub fn mean_pool(&mut self, x: ValueId, lengths: ValueId) -> Result<ValueId> {
        self.apply_one(&MEAN_POOL, &[Some(x), Some(lengths)], &[])
    }
}

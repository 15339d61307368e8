//! Rows of a state copied to other rows of it: what forks a sequence, whose cache is a row or some pages.
//!
//! Bound by memory: what is copied is read and written once.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::Approx;
use crate::op::Axis::{C, N, R, V};
use crate::op::{Arg, Axes, Cases, INDEX, Infer, Inferred, Kind, NUMBERS, Op, RefCall, Shape, Sizes};
use crate::ops::past_one_axis;

/// Rows along the first axis, in the order of the pairs.
pub static COPY_ROWS: Op = Op {
    name: "copy_rows",
    formula: "x[pairs[n, 1]] = x[pairs[n, 0]] for n = 0, 1, … in order, unless one of them is past the end",
    kind: Kind::Compute,
    inputs: &[Arg::new("pairs", &[N], INDEX), Arg::new("x", &[V, R, C], NUMBERS)],
    outputs: &[Arg::new("x", &[V, R, C], NUMBERS)],
    attrs: &[],
    infer,
    reference,
    flops: |_| 0.0,
    kernels: &[&GROUPS],
    cases: Cases {
        axes: &[(N, 2), (V, 4), (R, 2), (C, 5)],
        weights: &[DType::F32],
        variants: &["plain", "bytes"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(N, 1), (V, 1), (R, past_one_axis(64)), (C, 1)])),
        build,
        fill: |name, shape, rng| {
            let past = shape.sizes.get(V) as u64 + 1;
            (name == "pairs").then(|| (0..2 * shape.sizes.get(N)).map(|_| rng.below(past) as f64).collect())
        },
    },
};

static GROUPS: Kernel = Kernel {
    name: "copy_rows.groups",
    file: "copy_rows.wgsl",
    source: include_str!("../../shaders/copy_rows.wgsl"),
    blocks: &[(C, 64)],
    workgroups: |s| {
        let groups = Dim::from(s.size(C).div_ceil(4) as u64);
        Expr::Mul(vec![s.dim(R).into(), groups.into()]).ceil_div(64)
    },
    cost: |s| Work {
        flops: 0.0,
        bytes: 2.0 * s.bytes("x") / s.sizes.product(&[V]).max(1.0) * s.sizes.product(&[N]),
        invocations: s.sizes.product(&[R, C]) / 4.0,
    },
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (pairs, x) = (i.operand(0)?.shape.clone(), i.operand(1)?.clone());
    if pairs.len() != 2 || pairs[1].constant() != Some(2) {
        return Err(Error::Shape(format!("copy_rows: `pairs` is {}, but it must be [N, 2]", i.show(&pairs))));
    }
    let [rows, middle @ .., width] = x.shape.as_slice() else {
        let rank = x.shape.len();
        return Err(Error::Shape(format!("copy_rows: `x` needs at least 2 axes, but it has {rank}")));
    };
    if width.constant().is_none() {
        return Err(Error::Shape("copy_rows: the last axis of `x` must be fixed, no dim of the call".into()));
    }
    let sizes = [(N, pairs[0].clone()), (V, rows.clone()), (R, Dim::product(middle)), (C, width.clone())];
    let fold = vec![(V, 1), (R, middle.len()), (C, 1)];
    Ok(Inferred {
        axes: Axes::new(&sizes),
        folds: vec![vec![(N, 2)], fold.clone(), fold],
        outputs: vec![(x.shape, x.dtype)],
    })
}

// Nothing is computed: what is written has the error that it had.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (pairs, mut x) = (&c.input(0).value, c.input(1).clone());
    let (rows, row) = (c.sizes.get(V), c.sizes.get(R) * c.sizes.get(C));
    for pair in pairs.chunks_exact(2) {
        let [from, to] = [pair[0], pair[1]].map(|row| row as usize);
        if from < rows && to < rows {
            x.value.copy_within(from * row..(from + 1) * row, to * row);
            x.error.copy_within(from * row..(from + 1) * row, to * row);
        }
    }
    vec![x]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [n, v, r, c] = [N, V, R, C].map(|a| Dim::from(shape.sizes.get(a)));
    let pairs = g.input("pairs", DType::U32, &[n, 2.into()])?;
    let dtype = if shape.variant == 1 { DType::U8 } else { shape.x };
    let x = g.state("x", dtype, &[v, r, c])?;
    g.copy_rows(x, pairs).map(drop)
}

impl Graph {
    /// Copies rows of the state `x [V, .., C]` along its first axis to others: for each of `pairs [N, 2]`, u32,
    /// in order, row `pairs[n, 1]` becomes what row `pairs[n, 0]` is; a pair of which one is past the end does
    /// nothing. So a sequence of a cache `[B, T, G, D]` is forked, of any form. Of a cache of pages only the page
    /// that is not full need be copied: others may be both sequences', by their tables
    /// ([`At::pages`](crate::ops::append::At::pages)).
    ///
    /// # Errors
    /// [`Error::Shape`] if `pairs` is not `[N, 2]`, [`Error::Argument`] if `x` is no [`state`](Self::state).
    pub fn copy_rows(&mut self, x: ValueId, pairs: ValueId) -> Result<ValueId> {
        self.apply_one(&COPY_ROWS, &[Some(pairs), Some(x)], &[])
    }
}

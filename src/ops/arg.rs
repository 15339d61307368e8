//! Where rows are largest or smallest.
//!
//! Bound by memory. Indices are exact where inputs are; what else may be right is said in top_k.rs.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::Approx;
use crate::op::Axis::{K, R};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, RefCall, Sizes};
use crate::ops::top_k::{Ranked, zeros};
use crate::ops::{past_one_axis, rows};
use crate::plan::Numerics;

/// The index of the largest or smallest element of each row, of several the first or the last; of nothing 0.
pub static ARG: Op = Op {
    name: "arg",
    formula: "y[r] = the first (or last) k at which x[r, k] is largest (or smallest)",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, K], FLOATS)],
    outputs: &[Arg::new("y", &[R], INDEX)],
    attrs: &[("smallest", AttrKind::U32), ("last", AttrKind::U32)],
    infer,
    reference,
    flops: |s| s.product(&[R, K]),
    kernels: &[&ROW],
    cases: Cases {
        axes: &[(R, 3), (K, 70)],
        weights: &[DType::F32],
        variants: &["max", "min_last", "max_zeros"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(rows::MOST)), (K, 3)])),
        build: |g, shape| {
            let x = g.input("x", shape.x, &[R, K].map(|a| shape.sizes.get(a).into()))?;
            let flag = Attr::U32(shape.variant as u32 & 1);
            let y = g.apply_one(&ARG, &[Some(x)], &[("smallest", flag), ("last", flag)])?;
            g.output("y", y)
        },
        fill: |name, shape, rng| (name == "x" && shape.variant == 2).then(|| zeros(shape, &[R, K], rng)),
    },
};

static ROW: Kernel = Kernel {
    name: "arg.row",
    file: "arg.wgsl",
    source: include_str!("../../shaders/arg.wgsl"),
    blocks: &[(R, 16), (K, 256)],
    knobs: |s| {
        let flag = |name, attr| (name, (s.attr_u32(attr) != 0).to_string());
        [rows::knobs_apart(s, K), vec![flag("SMALLEST", "smallest"), flag("LAST", "last")]].concat()
    },
    workgroups: |s| rows::workgroups_apart(s, K),
    cost: |s| Work {
        flops: s.sizes.product(&[R, K]) * 4.0,
        bytes: s.bytes("x") + s.bytes("y"),
        invocations: rows::invocations(s, K),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, width) = i.rows_and_channels(0)?;
    let x = i.operand(0)?.shape.clone();
    let leading = x.len() - 1;
    let shape = if leading == 0 { vec![Dim::ONE] } else { x[..leading].to_vec() };
    Ok(Inferred {
        axes: Axes::new(&[(R, rows), (K, width)]),
        folds: vec![vec![(R, leading), (K, 1)], vec![(R, shape.len())]],
        outputs: vec![(shape, DType::U32)],
    })
}

// Comparing is exact.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (x, width, rows) = (c.input(0), c.sizes.get(K), c.sizes.get(R));
    let mut y = Approx::exact(&c.shape, vec![0.0; rows]);
    for r in (0..rows).filter(|_| width > 0) {
        let row = r * width..(r + 1) * width;
        let ranked = Ranked::of(x, row.clone(), c.attr("smallest") != 0.0, c.attr("last") != 0.0);
        y.value[r] = ranked.place(0, |i| x.value[row.start + i], |i| y.also.push((r, i))) as f64;
    }
    vec![y]
}

/// Which of several equal elements an index is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tie {
    /// The first.
    #[default]
    First,
    /// The last.
    Last,
}

impl Graph {
    /// The index of the largest element along an axis, u32; the axis goes. Along another axis than the last, `x`
    /// is transposed. Of a size that a call makes 0 it is 0.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` has no such axis, or it has the fixed size 0.
    pub fn arg_max(&mut self, x: ValueId, axis: usize, tie: Tie) -> Result<ValueId> {
        self.arg(x, axis, 0, tie)
    }

    /// The index of the smallest element, as [`arg_max`](Self::arg_max) has that of the largest.
    ///
    /// # Errors
    /// As [`arg_max`](Self::arg_max).
    pub fn arg_min(&mut self, x: ValueId, axis: usize, tie: Tie) -> Result<ValueId> {
        self.arg(x, axis, 1, tie)
    }

    fn arg(&mut self, x: ValueId, axis: usize, smallest: u32, tie: Tie) -> Result<ValueId> {
        self.has(x)?;
        let shape = self.value(x).shape.clone();
        if shape.get(axis).is_none_or(|n| n.constant() == Some(0)) {
            return Err(Error::Shape(format!(
                "arg: axis {axis} of {} was named, which must be there and not have the size 0",
                self.show_dims(&shape)
            )));
        }
        let mut to_back: Vec<usize> = (0..shape.len()).collect();
        to_back[axis..].rotate_left(1);
        let x = self.transpose(x, &to_back)?;
        let attrs = [("smallest", Attr::U32(smallest)), ("last", Attr::U32(u32::from(tie == Tie::Last)))];
        self.apply_one(&ARG, &[Some(x)], &attrs)
    }
}

//! Sums of all elements up to each, along an axis.
//!
//! Bound by memory.

use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::{Approx, Sum};
use crate::op::Axis::{C, R};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes};
use crate::ops::{for_each_row, past_one_axis, rows};
use crate::plan::Numerics;

/// Each element becomes the sum of those up to it.
pub static CUMULATIVE_SUM: Op = Op {
    name: "cumulative_sum",
    formula: "y[r, c] = Σ_i x[r, i] over i ≤ c (exclusive: i < c; in reverse: i ≥ c, exclusive i > c)",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], FLOATS)],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[("exclusive", AttrKind::U32), ("reverse", AttrKind::U32)],
    infer,
    reference,
    flops: |s| s.product(&[R, C]),
    kernels: &[&ROW],
    cases: Cases {
        axes: &[(R, 3), (C, 70)],
        weights: &[crate::DType::F32],
        variants: &["plain", "exclusive", "reverse", "exclusive_reverse_scaled"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(rows::MOST)), (C, 3)])),
        build,
        fill: |_, _, _| None,
    },
};

static ROW: Kernel = Kernel {
    name: "cumulative_sum.row",
    file: "cumulative_sum.wgsl",
    source: include_str!("../../shaders/cumulative_sum.wgsl"),
    blocks: &[(R, 16), (C, 256)],
    knobs: |s| {
        let flag = |name, attr| (name, (s.attr_u32(attr) != 0).to_string());
        [rows::knobs_apart(s, C), vec![flag("EXCLUSIVE", "exclusive"), flag("REVERSE", "reverse")]].concat()
    },
    workgroups: |s| rows::workgroups_apart(s, C),
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]) * 5.0,
        bytes: s.bytes("x") + s.bytes("y"),
        invocations: rows::invocations(s, C),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, channels) = i.rows_and_channels(0)?;
    let x = i.operand(0)?;
    let outputs = vec![(x.shape.clone(), x.dtype)];
    Ok(Inferred { axes: Axes::new(&[(R, rows), (C, channels)]), folds: i.folds(&outputs), outputs })
}

// Each is a sum of its own, and has its bound: a tree within a tile, whose sum is added to what was carried.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let mut out = c.input(0).clone();
    let (width, exclusive, reverse) = (c.sizes.get(C), c.attr("exclusive") != 0.0, c.attr("reverse") != 0.0);
    let work = out.value.len() * 4;
    for_each_row(width, &mut out.value, &mut out.error, work, |_, value, error| {
        let mut sum = Sum::new();
        for i in 0..width {
            let i = if reverse { width - 1 - i } else { i };
            let before = sum;
            sum.add(value[i], error[i]);
            (value[i], error[i]) = if exclusive { before.finish() } else { sum.finish() };
        }
    });
    vec![out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let dims = [R, C].map(|a| shape.sizes.get(a).into());
    let mut x = g.input("x", shape.x, &dims)?;
    if shape.variant == 3 {
        x = g.scale(x, Attr::F32(0.5))?;
    }
    let flag = |on: bool| Attr::U32(u32::from(on));
    let attrs = [("exclusive", flag(shape.variant % 2 == 1)), ("reverse", flag(shape.variant >= 2))];
    let mut y = g.apply_one(&CUMULATIVE_SUM, &[Some(x)], &attrs)?;
    if shape.variant == 3 {
        y = g.scale(y, Attr::F32(-2.0))?;
    }
    g.output("y", y)
}

/// Which elements a cumulative sum has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cumulative {
    /// Whether it leaves out the element itself.
    pub exclusive: bool,
    /// Whether it starts at the end of the axis.
    pub reverse: bool,
}

impl Graph {
    /// The sums of all elements up to each along an axis, in f32 whatever the type. Along another axis than the
    /// last, `x` is transposed.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` has no such axis.
    pub fn cumulative_sum(&mut self, x: ValueId, axis: usize, how: Cumulative) -> Result<ValueId> {
        self.has(x)?;
        let rank = self.value(x).shape.len();
        if axis >= rank {
            return Err(Error::Shape(format!(
                "cumulative_sum: `x` has {rank} axes, but axis {axis} was named"
            )));
        }
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(axis, rank - 1);
        let x = self.transpose(x, &order)?;
        let flag = |on: bool| Attr::U32(u32::from(on));
        let attrs = [("exclusive", flag(how.exclusive)), ("reverse", flag(how.reverse))];
        let y = self.apply_one(&CUMULATIVE_SUM, &[Some(x)], &attrs)?;
        self.transpose(y, &order)
    }
}

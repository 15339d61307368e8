//! A number before and behind a tensor along an axis.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::Approx;
use crate::op::Axis::{C, R};
use crate::op::{Arg, Attr, AttrKind, Cases, Infer, Inferred, Kind, NUMBERS, Op, RefCall, Shape, Sizes};
use crate::ops::view::{around_axis, number};
use crate::ops::{by_groups, past_one_axis};
use crate::plan::Numerics;

/// y = x with `before` and `after` elements of `value` around it along an axis.
pub static PAD: Op = Op {
    name: "pad",
    formula: "y[…, i, …] = x[…, i - before, …] where before ≤ i < before + M, else value, along `axis`",
    kind: Kind::Compute,
    // Its number tells its sizes from the result's.
    inputs: &[Arg::new("x1", &[R, C], NUMBERS)],
    outputs: &[Arg::new("y", &[R, C], NUMBERS)],
    attrs: &[
        ("axis", AttrKind::U32),
        ("before", AttrKind::U32),
        ("after", AttrKind::U32),
        ("value", AttrKind::Float),
    ],
    infer,
    reference,
    flops: |_| 0.0,
    kernels: &[&PICK],
    cases: Cases {
        axes: &[(R, 3), (C, 5)],
        weights: &[DType::F32],
        variants: &["columns", "rows", "middle", "u8"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(64)), (C, 1)])),
        build,
        fill: |_, _, _| None,
    },
};

static PICK: Kernel = Kernel {
    name: "pad.pick",
    file: "pad.wgsl",
    source: include_str!("../../shaders/pad.wgsl"),
    blocks: &[(R, 16), (C, 64)],
    fits: |_| Ok(()),
    knobs: |_| Vec::new(),
    workgroups: by_groups,
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]) * 8.0,
        bytes: s.bytes("x1") * 4.0 + s.bytes("y"),
        invocations: s.sizes.product(&[R, C]) / 4.0,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let x = i.operand(0)?.clone();
    let [axis, before, after] = ["axis", "before", "after"].map(|a| i.attr_u32(a).unwrap_or(0));
    let axis = axis as usize;
    let Some(size) = x.shape.get(axis) else {
        let rank = x.shape.len();
        return Err(Error::Shape(format!("pad: `x` has {rank} axes, but axis {axis} was asked for")));
    };
    let Some(m) = size.constant() else {
        return Err(Error::Shape(format!(
            "pad: axis {axis} of `x` {} must be fixed, so that its padded size is",
            i.show(&x.shape)
        )));
    };
    let mut shape = x.shape.clone();
    shape[axis] = m.saturating_add(u64::from(before)).saturating_add(u64::from(after)).into();
    let axes = around_axis(&shape, axis, m);
    let outputs = vec![(shape.clone(), x.dtype)];
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let x = c.input(0);
    let (axis, before) = (c.attr("axis") as usize, c.attr("before") as usize);
    let inner: usize = c.shape[axis + 1..].iter().product();
    let mut out = Approx { shape: c.shape.clone(), ..Approx::default() };
    for i in 0..c.shape.iter().product() {
        let (o, k) = (i / inner / c.shape[axis], i / inner % c.shape[axis]);
        let (value, error) = match k.checked_sub(before).filter(|k| *k < x.shape[axis]) {
            Some(k) => x.at((o * x.shape[axis] + k) * inner + i % inner),
            None => (c.attr("value"), 0.0),
        };
        out.value.push(value);
        out.error.push(error);
    }
    vec![out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let (rows, channels) = (shape.sizes.get(R), shape.sizes.get(C));
    let dtype = if shape.variant == 3 { DType::U8 } else { shape.x };
    // What a case sweeps is the result, of which padding takes a part.
    let (axis, swept) = [(1, channels), (0, rows), (1, 4), (1, channels)][shape.variant];
    let (before, after) = (swept / 4, swept / 3);
    let size = swept - before - after;
    let own = match shape.variant {
        1 => vec![size, channels],
        2 => vec![rows, size, channels],
        _ => vec![rows, size],
    };
    let x = g.input("x1", dtype, &own.into_iter().map(Dim::from).collect::<Vec<_>>())?;
    let y = g.pad(x, axis, before, after, 3.0)?;
    g.output("y", y)
}

impl Graph {
    /// `before` and `after` elements of `value` around `x` along an axis, whose size must be fixed.
    ///
    /// # Errors
    /// [`Error::Shape`] if the axis does not exist or is one of the call's, [`Error::Argument`] if
    /// `value` is not finite.
    pub fn pad(
        &mut self,
        x: ValueId,
        axis: usize,
        before: usize,
        after: usize,
        value: f32,
    ) -> Result<ValueId> {
        let attrs = [
            ("axis", number(axis)),
            ("before", number(before)),
            ("after", number(after)),
            ("value", Attr::F32(value)),
        ];
        self.apply_one(&PAD, &[Some(x)], &attrs)
    }
}

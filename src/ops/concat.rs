//! Two tensors, one behind the other along an axis.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::Approx;
use crate::op::Axis::{C, R};
use crate::op::{Arg, AttrKind, Cases, Infer, Inferred, Kind, NUMBERS, Op, RefCall, Shape, Sizes};
use crate::ops::view::{around_axis, number};
use crate::ops::{by_groups, past_one_axis};
use crate::plan::Numerics;

/// y = x0, then x1, along an axis.
pub static CONCAT: Op = Op {
    name: "concat",
    formula: "y[…, i, …] = x0[…, i, …] where i < M, else x1[…, i - M, …], along `axis`",
    kind: Kind::Compute,
    inputs: &[Arg::new("x0", &[R, C], NUMBERS), Arg::new("x1", &[R, C], NUMBERS)],
    outputs: &[Arg::new("y", &[R, C], NUMBERS)],
    attrs: &[("axis", AttrKind::U32)],
    infer,
    reference,
    flops: |_| 0.0,
    kernels: &[&PICK],
    cases: Cases {
        axes: &[(R, 3), (C, 5)],
        weights: &[DType::F32],
        variants: &["columns", "rows", "middle", "i8"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(64)), (C, 1)])),
        build,
        fill: |_, _, _| None,
    },
};

static PICK: Kernel = Kernel {
    name: "concat.pick",
    file: "concat.wgsl",
    source: include_str!("../../shaders/concat.wgsl"),
    blocks: &[(R, 16), (C, 64)],
    fits: |_| Ok(()),
    knobs: |_| Vec::new(),
    workgroups: by_groups,
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]) * 8.0,
        bytes: (s.bytes("x0") + s.bytes("x1")) * 4.0 + s.bytes("y"),
        invocations: s.sizes.product(&[R, C]) / 4.0,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (a, b) = (i.operand(0)?.clone(), i.operand(1)?.clone());
    let axis = i.attr_u32("axis").unwrap_or(0) as usize;
    let mut as_first = b.shape.clone();
    if let (Some(own), Some(first)) = (as_first.get_mut(axis), a.shape.get(axis)) {
        own.clone_from(first);
    }
    if axis >= a.shape.len() || as_first != a.shape {
        return Err(Error::Shape(format!(
            "concat: `x0` is {} and `x1` is {}, which do not differ in axis {axis} alone",
            i.show(&a.shape),
            i.show(&b.shape)
        )));
    }
    if a.dtype != b.dtype {
        return Err(Error::Argument(format!("concat: `x0` is {}, but `x1` is {}", a.dtype, b.dtype)));
    }
    let fixed = |d: &Dim| d.constant().ok_or(());
    let (Ok(m), Ok(rest)) = (fixed(&a.shape[axis]), fixed(&b.shape[axis])) else {
        return Err(Error::Shape(format!(
            "concat: axis {axis} of {} and {} must be fixed, so that their sum is",
            i.show(&a.shape),
            i.show(&b.shape)
        )));
    };
    let mut shape = a.shape.clone();
    shape[axis] = m.saturating_add(rest).into();
    let axes = around_axis(&shape, axis, m);
    let outputs = vec![(shape.clone(), a.dtype)];
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (a, b, axis) = (c.input(0), c.input(1), c.attr("axis") as usize);
    let inner: usize = a.shape[axis + 1..].iter().product();
    let outer: usize = a.shape[..axis].iter().product();
    let join = |a_values: &[f64], b_values: &[f64]| -> Vec<f64> {
        let part = |values: &[f64], o: usize, n: usize| values[o * n * inner..(o + 1) * n * inner].to_vec();
        (0..outer)
            .flat_map(|o| [part(a_values, o, a.shape[axis]), part(b_values, o, b.shape[axis])].concat())
            .collect()
    };
    let (value, error) = (join(&a.value, &b.value), join(&a.error, &b.error));
    vec![Approx { error, ..Approx::exact(&c.shape, value) }]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let (rows, channels) = (shape.sizes.get(R), shape.sizes.get(C));
    let dtype = if shape.variant == 3 { DType::I8 } else { shape.x };
    // What a case sweeps is the result, so the first takes a part of it.
    let split = |n: usize| [n / 3, n - n / 3];
    let (axis, shapes) = match shape.variant {
        1 => (0, split(rows).map(|r| vec![r, channels])),
        2 => (1, [2, 3].map(|k| vec![rows, k, channels])),
        _ => (1, split(channels).map(|c| vec![rows, c])),
    };
    let [a, b] = shapes.map(|s| s.into_iter().map(Dim::from).collect::<Vec<_>>());
    let (a, b) = (g.input("x0", dtype, &a)?, g.input("x1", dtype, &b)?);
    let y = g.concat(&[a, b], axis)?;
    g.output("y", y)
}

impl Graph {
    /// Tensors one behind the other along an axis, whose size must be fixed in all of them; the other
    /// axes are equal. Two are copied at a time.
    ///
    /// # Errors
    /// [`Error::Shape`] if other axes differ or the axis is one of the call's, [`Error::Argument`] if
    /// types differ or there is no tensor.
    pub fn concat(&mut self, tensors: &[ValueId], axis: usize) -> Result<ValueId> {
        match tensors {
            [] => Err(Error::Argument("concat: takes 1 tensor or more, but 0 were given".into())),
            [x] => self.has(*x).map(|()| *x),
            _ => {
                // Halves, so that each element is copied as few times as it can be.
                let (left, right) = tensors.split_at(tensors.len() / 2);
                let (left, right) = (self.concat(left, axis)?, self.concat(right, axis)?);
                self.apply_one(&CONCAT, &[Some(left), Some(right)], &[("axis", number(axis))])
            }
        }
    }
}

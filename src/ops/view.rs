//! Ops that name the same elements otherwise. Strides say them where they can; else `copy.gather`.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::Approx;
use crate::op::Axis::{C, R};
use crate::op::{
    Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Sizes, show_shape,
};
use crate::ops::past_one_axis;
use crate::plan::Numerics;

const ANY: &[DType] = &[DType::F32, DType::F16, DType::U32];

/// The same elements under another shape.
pub static RESHAPE: Op = Op {
    name: "reshape",
    formula: "y = x, row-major under another shape",
    kind: Kind::View,
    inputs: &[Arg::new("x", &[R, C], ANY)],
    outputs: &[Arg::new("y", &[R, C], ANY)],
    attrs: &[],
    infer: |_| Err(Error::Argument("reshape: use `Graph::reshape`, which takes the shape".into())),
    reference: |c| vec![c.input(0).clone()],
    flops: |_| 0.0,
    kernels: &[&GATHER],
    cases: Cases {
        variants: &["split_rows"],
        // The copy walks over the result, [C, R].
        many_workgroups: |_| Some(Sizes::new(&[(R, 4), (C, past_one_axis(64))])),
        build: |g, shape| {
            let (rows, channels) = (shape.sizes.get(R), shape.sizes.get(C));
            let x = g.input("x", shape.x, &[rows.into(), channels.into()])?;
            let y = g.reshape(x, &[channels.into(), rows.into()])?;
            g.output("y", y)
        },
        ..CASES
    },
};

/// Elements `start .. start + len` of one axis.
pub static SLICE: Op = Op {
    name: "slice",
    formula: "y[…, i, …] = x[…, start + i, …] along `axis`",
    kind: Kind::View,
    inputs: &[Arg::new("x", &[R, C], ANY)],
    outputs: &[Arg::new("y", &[R, C], ANY)],
    attrs: &[("axis", AttrKind::U32), ("start", AttrKind::U32), ("len", AttrKind::U32)],
    infer: infer_slice,
    reference: reference_slice,
    flops: |_| 0.0,
    kernels: &[&GATHER],
    cases: Cases {
        variants: &["columns", "columns_aligned", "rows"],
        build: |g, shape| {
            let (rows, channels) = (shape.sizes.get(R), shape.sizes.get(C));
            let (axis, start) = [(1, 3), (1, 8), (0, 2)][shape.variant];
            let (r, c) = [(rows, channels + 3), (rows, channels + 12), (rows + 5, channels)][shape.variant];
            let x = g.input("x", shape.x, &[r.into(), c.into()])?;
            let y = g.slice(x, axis, start, if axis == 0 { rows } else { channels })?;
            g.output("y", y)
        },
        ..CASES
    },
};

/// What the planner inserts where a view has to be copied: `y [R, C]` from any strides.
pub static COPY: Op = Op {
    name: "copy",
    formula: "y = x",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], FLOATS)],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[],
    infer: infer_copy,
    reference: |c| vec![c.input(0).clone()],
    flops: |_| 0.0,
    kernels: &[&GATHER],
    cases: CASES,
};

const CASES: Cases = Cases {
    axes: &[(R, 3), (C, 5)],
    weights: &[DType::F32],
    variants: &["plain"],
    many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(64)), (C, 1)])),
    build: |_, _| Ok(()),
    fill: |_, _, _| None,
};

static GATHER: Kernel = Kernel {
    name: "copy.gather",
    file: "copy.wgsl",
    source: include_str!("../../shaders/copy.wgsl"),
    blocks: &[(R, 16), (C, 64)],
    fits: |_| Ok(()),
    knobs: |_| Vec::new(),
    workgroups: |s| {
        let groups = s.size(C).div_ceil(4) as u64;
        Expr::Mul(vec![s.dim(R).into(), Expr::from(Dim::from(groups))]).ceil_div(64)
    },
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]),
        bytes: s.bytes("x") * 4.0 + s.bytes("y"),
        invocations: s.sizes.product(&[R, C]) / 4.0,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
};

fn infer_copy(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, channels) = i.rows_and_channels(0)?;
    let x = i.operand(0)?;
    let outputs = vec![(x.shape.clone(), x.dtype)];
    Ok(Inferred { axes: Axes::new(&[(R, rows), (C, channels)]), folds: i.folds(&outputs), outputs })
}

fn infer_slice(i: &Infer<'_>) -> Result<Inferred> {
    let x = i.operand(0)?;
    let [axis, start, len] = ["axis", "start", "len"].map(|a| i.attr_u32(a).unwrap_or(0));
    let Some(size) = x.shape.get(axis as usize) else {
        let rank = x.shape.len();
        return Err(Error::Shape(format!("slice: `x` has {rank} axes, but axis {axis} was asked for")));
    };
    let end = u64::from(start) + u64::from(len);
    if size.constant().is_none_or(|n| end > n) {
        return Err(Error::Shape(format!(
            "slice: {start}..{end} of axis {axis} does not lie in {}, whose axis must be fixed",
            show_shape(&x.shape)
        )));
    }
    let mut shape = x.shape.clone();
    shape[axis as usize] = u64::from(len).into();
    let (last, leading) = shape.split_last().expect("the axis was found, so there is one");
    let axes = Axes::new(&[(R, Dim::product(leading)), (C, last.clone())]);
    let outputs = vec![(shape.clone(), x.dtype)];
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

fn reference_slice(c: &RefCall<'_>) -> Vec<Approx> {
    let x = c.input(0);
    let [axis, start, len] = ["axis", "start", "len"].map(|a| c.attr(a) as usize);
    let inner: usize = x.shape[axis + 1..].iter().product();
    let outer: usize = x.shape[..axis].iter().product();
    let mut shape = x.shape.clone();
    shape[axis] = len;
    let pick = |from: &[f64]| -> Vec<f64> {
        let part = |o: usize| (o * x.shape[axis] + start) * inner;
        (0..outer).flat_map(|o| from[part(o)..part(o) + len * inner].iter().copied()).collect()
    };
    vec![Approx { value: pick(&x.value), error: pick(&x.error), shape }]
}

impl Graph {
    /// The same elements under another shape, row-major. Free where strides can say it.
    ///
    /// # Errors
    /// [`Error::Shape`] if the element counts differ.
    pub fn reshape(&mut self, x: ValueId, shape: &[Dim]) -> Result<ValueId> {
        self.has(x)?;
        let from = self.value(x).shape.clone();
        if Dim::product(&from) != Dim::product(shape) || shape.is_empty() {
            return Err(Error::Shape(format!(
                "reshape: `x` is {}, which has not as many elements as {}",
                show_shape(&from),
                show_shape(shape)
            )));
        }
        self.apply_view(&RESHAPE, x, shape)
    }

    /// `len` elements of one axis, from `start`. The axis must be fixed. Free where strides can say it.
    ///
    /// # Errors
    /// [`Error::Shape`] if the axis does not exist or the range leaves it.
    pub fn slice(&mut self, x: ValueId, axis: usize, start: usize, len: usize) -> Result<ValueId> {
        let number = |n: usize| Attr::U32(u32::try_from(n).unwrap_or(u32::MAX));
        let attrs = [("axis", number(axis)), ("start", number(start)), ("len", number(len))];
        self.apply_one(&SLICE, &[Some(x)], &attrs)
    }
}

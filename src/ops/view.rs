//! Ops that name the same elements otherwise. Strides say them where they can; else `copy.gather`.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::Approx;
use crate::op::Axis::{C, D, M, N, R};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, Infer, Inferred, Kind, NUMBERS, Op, RefCall, Sizes};
use crate::ops::{by_groups, past_one_axis};
use crate::plan::Numerics;
use crate::tensor::row_major;

const ANY: &[DType] = &[DType::F32, DType::F16, DType::U32, DType::I8, DType::U8];
/// How many axes that do not lie tight over each other a copy can walk.
pub(crate) const COPY_AXES: usize = 6;

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
        applies: |_| true,
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

/// Two axes exchanged.
pub static SWAP: Op = Op {
    name: "swap",
    formula: "y[…, i, …, j, …] = x[…, j, …, i, …], the axes `a` and `b` exchanged",
    kind: Kind::View,
    inputs: &[Arg::new("x", &[R, C], ANY)],
    outputs: &[Arg::new("y", &[R, C], ANY)],
    attrs: &[("a", AttrKind::U32), ("b", AttrKind::U32)],
    infer: infer_swap,
    reference: reference_swap,
    flops: |_| 0.0,
    kernels: &[&GATHER],
    cases: Cases {
        variants: &["columns", "leading"],
        build: |g, shape| {
            let (rows, channels) = (shape.sizes.get(R), shape.sizes.get(C));
            let leading = shape.variant == 1;
            let from = if leading { vec![rows, 3, channels] } else { vec![channels, rows] };
            let x = g.input("x", shape.x, &from.into_iter().map(Dim::from).collect::<Vec<_>>())?;
            let y = g.transpose(x, if leading { &[1, 0, 2] } else { &[1, 0] })?;
            g.output("y", y)
        },
        ..CASES
    },
};

/// Each element as often as it takes, along axes that are 1 or that are not there.
pub static EXPAND: Op = Op {
    name: "expand",
    formula: "y[…, i, …] = x[…, 0, …] along every axis that is 1 in x, or missing",
    kind: Kind::View,
    inputs: &[Arg::new("x", &[R, C], ANY)],
    outputs: &[Arg::new("y", &[R, C], ANY)],
    attrs: &[],
    infer: |_| Err(Error::Argument("expand: use `Graph::expand`, which takes the shape".into())),
    reference: reference_expand,
    flops: |_| 0.0,
    kernels: &[&GATHER],
    cases: Cases {
        variants: &["row", "column", "middle"],
        build: |g, shape| {
            let (rows, channels) = (shape.sizes.get(R), shape.sizes.get(C));
            let (from, to) = match shape.variant {
                0 => (vec![channels], vec![rows, channels]),
                1 => (vec![rows, 1], vec![rows, channels]),
                _ => (vec![rows, 1, channels], vec![rows, 2, channels]),
            };
            let dims = |sizes: Vec<usize>| sizes.into_iter().map(Dim::from).collect::<Vec<_>>();
            let x = g.input("x", shape.x, &dims(from))?;
            let y = g.expand(x, &dims(to))?;
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
    inputs: &[Arg::new("x", &[R, C], NUMBERS)],
    outputs: &[Arg::new("y", &[R, C], NUMBERS)],
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
    applies: |_| true,
    many_workgroups: |_| None,
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
    workgroups: by_groups,
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]),
        bytes: s.bytes("x") * 4.0 + s.bytes("y"),
        invocations: s.sizes.product(&[R, C]) / 4.0,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
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
            i.show(&x.shape)
        )));
    }
    let mut shape = x.shape.clone();
    shape[axis as usize] = u64::from(len).into();
    let outputs = vec![(shape.clone(), x.dtype)];
    Ok(Inferred { axes: rows_of(&shape), folds: i.folds(&outputs), outputs })
}

fn infer_swap(i: &Infer<'_>) -> Result<Inferred> {
    let x = i.operand(0)?;
    let [a, b] = ["a", "b"].map(|name| i.attr_u32(name).unwrap_or(0) as usize);
    let mut shape = x.shape.clone();
    if a.max(b) >= shape.len() {
        let rank = shape.len();
        return Err(Error::Shape(format!("swap: `x` has {rank} axes, but axis {} was asked for", a.max(b))));
    }
    shape.swap(a, b);
    let outputs = vec![(shape.clone(), x.dtype)];
    Ok(Inferred { axes: rows_of(&shape), folds: i.folds(&outputs), outputs })
}

/// R and C of a shape.
fn rows_of(shape: &[Dim]) -> Axes {
    let (last, leading) = shape.split_last().map_or((Dim::ONE, &[][..]), |(l, rest)| (l.clone(), rest));
    Axes::new(&[(R, Dim::product(leading)), (C, last)])
}

/// R and C of a result that is made along an axis: N its size there, M what the first operand has of
/// it, D everything inside it.
pub(crate) fn around_axis(shape: &[Dim], axis: usize, own: u64) -> Axes {
    let rows = rows_of(shape);
    let inner = Dim::product(&shape[axis + 1..]);
    Axes::new(&[(R, rows.get(R)), (C, rows.get(C)), (N, shape[axis].clone()), (M, own.into()), (D, inner)])
}

/// The elements of `x` at the places that `from` names, for each index of `shape`.
fn picked(x: &Approx, shape: &[usize], from: impl Fn(&[usize]) -> usize) -> Vec<Approx> {
    let mut out = Approx { shape: shape.to_vec(), ..Approx::default() };
    let mut index = vec![0; shape.len()];
    for _ in 0..shape.iter().product() {
        let (value, error) = x.at(from(&index));
        out.value.push(value);
        out.error.push(error);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    vec![out]
}

fn reference_swap(c: &RefCall<'_>) -> Vec<Approx> {
    let x = c.input(0);
    let mut strides = row_major(&x.shape);
    strides.swap(c.attr("a") as usize, c.attr("b") as usize);
    picked(x, &c.shape, |index| index.iter().zip(&strides).map(|(i, s)| i * s).sum())
}

fn reference_expand(c: &RefCall<'_>) -> Vec<Approx> {
    let x = c.input(0);
    let strides = row_major(&x.shape);
    let new = c.shape.len() - x.shape.len();
    picked(x, &c.shape, |index| {
        let own = index[new..].iter().zip(&x.shape).zip(&strides);
        own.map(|((i, n), s)| if *n == 1 { 0 } else { i * s }).sum()
    })
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
    vec![Approx { error: pick(&x.error), ..Approx::exact(&shape, pick(&x.value)) }]
}

/// A whole-number attribute; what is too large stays out of range.
pub(crate) fn number(n: usize) -> Attr {
    Attr::U32(u32::try_from(n).unwrap_or(u32::MAX))
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
                self.show_dims(&from),
                self.show_dims(shape)
            )));
        }
        self.apply_view(&RESHAPE, x, shape)
    }

    /// The axes in another order: axis `i` of the result is axis `order[i]` of `x`. Free where strides
    /// can say it; kernels that read neighbours copy it if the last axis moved.
    ///
    /// # Errors
    /// [`Error::Shape`] if `order` does not name every axis of `x` once.
    pub fn transpose(&mut self, x: ValueId, order: &[usize]) -> Result<ValueId> {
        self.has(x)?;
        let rank = self.value(x).shape.len();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..rank) {
            return Err(Error::Shape(format!(
                "transpose: `order` is {order:?}, but it must name each of the {rank} axes of `x` once"
            )));
        }
        let mut at: Vec<usize> = (0..rank).collect();
        let mut y = x;
        for (i, wanted) in order.iter().enumerate() {
            if let Some(j) = (i..rank).find(|j| at[*j] == *wanted).filter(|j| *j != i) {
                at.swap(i, j);
                y = self.apply_one(&SWAP, &[Some(y)], &[("a", number(i)), ("b", number(j))])?;
            }
        }
        Ok(y)
    }

    /// Broadcasts to a shape as numpy does: axes that are 1 or missing in front repeat. Free where
    /// strides can say it.
    ///
    /// # Errors
    /// [`Error::Shape`] if an axis is neither 1 nor what it shall be.
    pub fn expand(&mut self, x: ValueId, shape: &[Dim]) -> Result<ValueId> {
        self.has(x)?;
        let from = self.value(x).shape.clone();
        if from == shape {
            return Ok(x);
        }
        let goes = from.len() <= shape.len()
            && from.iter().rev().zip(shape.iter().rev()).all(|(a, b)| a == b || a.constant() == Some(1));
        if !goes {
            return Err(Error::Shape(format!(
                "expand: `x` is {}, which cannot be broadcast to {}",
                self.show_dims(&from),
                self.show_dims(shape)
            )));
        }
        self.apply_view(&EXPAND, x, shape)
    }

    /// The shape to which all of some tensors can be broadcast.
    pub(crate) fn broadcast_shape(&self, op: &str, tensors: &[ValueId]) -> Result<Vec<Dim>> {
        let mut shape: Vec<Dim> = Vec::new();
        for id in tensors {
            self.has(*id)?;
            let own = &self.value(*id).shape;
            while shape.len() < own.len() {
                shape.insert(0, Dim::ONE);
            }
            let new = shape.len() - own.len();
            for (i, size) in own.iter().enumerate() {
                let axis = &mut shape[new + i];
                if axis.constant() == Some(1) {
                    *axis = size.clone();
                } else if axis != size && size.constant() != Some(1) {
                    let shapes: Vec<_> = tensors.iter().map(|t| self.show_shape(*t)).collect();
                    return Err(Error::Shape(format!(
                        "{op}: {} cannot be broadcast to one shape: axis {i} of `{}` is {}, but another's is {}",
                        shapes.join(" and "),
                        self.value(*id).name,
                        size.show(self.scalars()),
                        axis.show(self.scalars()),
                    )));
                }
            }
        }
        Ok(shape)
    }

    /// `len` elements of one axis, from `start`. The axis must be fixed. Free where strides can say it.
    ///
    /// # Errors
    /// [`Error::Shape`] if the axis does not exist or the range leaves it.
    pub fn slice(&mut self, x: ValueId, axis: usize, start: usize, len: usize) -> Result<ValueId> {
        let attrs = [("axis", number(axis)), ("start", number(start)), ("len", number(len))];
        self.apply_one(&SLICE, &[Some(x)], &attrs)
    }
}

//! Softmax and its logarithm along the last axis.
//!
//! Bound by memory. What is added or scaled before it joins its load: that is how a mask gets in.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::numerics::{Approx, LAMBDA, U32, round_error};
use crate::op::Axis::{C, R};
use crate::op::{Arg, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape};
use crate::ops::elementwise::unary::{ROUND, exp_error, log_error, quotient_error};
use crate::ops::for_each_row;
use crate::ops::rows::{self, split, split::Find};
use crate::plan::Numerics;

/// y = exp(x) / Σ exp(x) over the last axis; -∞ gives 0, also where a row holds nothing else.
pub static SOFTMAX: Op = Op {
    name: "softmax",
    formula: "y[r, c] = exp(x[r, c] - m) / Σ_c exp(x[r, c] - m), m = max_c x[r, c]",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], FLOATS)],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[],
    infer,
    reference: |c| vec![reference(c, false)],
    flops: |s| 5.0 * s.product(&[R, C]),
    kernels: &[&ROW, &SPLIT],
    cases: Cases { build: |g, shape| build(g, shape, &SOFTMAX), ..CASES },
};

/// y = x - log Σ exp(x) over the last axis; -∞ gives the least number of y's type, which stands for it.
pub static LOG_SOFTMAX: Op = Op {
    name: "log_softmax",
    formula: "y[r, c] = x[r, c] - m - log Σ_c exp(x[r, c] - m), m = max_c x[r, c]",
    reference: |c| vec![reference(c, true)],
    kernels: &[&ROW, &SPLIT],
    cases: Cases { build: |g, shape| build(g, shape, &LOG_SOFTMAX), ..CASES },
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], FLOATS)],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[],
    infer,
    flops: |s| 5.0 * s.product(&[R, C]),
};

const CASES: Cases = Cases {
    axes: &[(R, 3), (C, 70)],
    weights: &[DType::F32],
    variants: &["plain", "masked", "scaled", "far_apart"],
    applies: |_| true,
    many_workgroups: rows::many_workgroups,
    build: |_, _| Ok(()),
    fill,
};

static ROW: Kernel = Kernel {
    name: "softmax.row",
    file: "softmax.wgsl",
    source: include_str!("../../shaders/softmax.wgsl"),
    blocks: &[(R, 4), (C, rows::REACH)],
    fits: |_| Ok(()),
    knobs: |s| [rows::knobs(s, C), log_knobs(s)].concat(),
    workgroups: |s| rows::workgroups(s, C),
    cost: |s| Work {
        flops: 20.0 * s.sizes.product(&[R, C]),
        bytes: s.bytes("x") * (1.0 + 2.0 * rows::again(s, C)) + s.bytes("y"),
        invocations: rows::invocations(s, C),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

static SPLIT: Kernel = Kernel {
    name: "softmax.split",
    file: "softmax_split.wgsl",
    source: include_str!("../../shaders/softmax_split.wgsl"),
    knobs: |s| [split::knobs(s), log_knobs(s)].concat(),
    cost: |s| split::cost(s, (ROW.cost)(s), 2),
    first: &[&LARGEST, &SUMS],
    ..split::LAST
};

static LARGEST: Kernel =
    Kernel { name: "softmax.split_largest", knobs: |s| split::pass(s, Find::Largest), ..split::PASS };

static SUMS: Kernel =
    Kernel { name: "softmax.split_sums", knobs: |s| split::pass(s, Find::Exponentials), ..split::PASS };

/// Whether the logarithm is asked for.
fn log_knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    if s.op != &LOG_SOFTMAX {
        return Vec::new();
    }
    let packed = s.arg("y").is_some_and(|y| y.dtype == DType::F16);
    let hidden = packed.then(|| ("HIDDEN", "-65504.0".into()));
    [("LOG", "true".into())].into_iter().chain(hidden).collect()
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, channels) = i.rows_and_channels(0)?;
    let x = i.operand(0)?;
    let outputs = vec![(x.shape.clone(), x.dtype)];
    Ok(Inferred { axes: Axes::new(&[(R, rows), (C, channels)]), folds: i.folds(&outputs), outputs })
}

// d = x - m rounds once; what m is off by cancels, since numerator and sum share it. exp: (3 + 2|d|)
// ulp. The sum's bound. softmax: a quotient, which never leaves 0 … 1. log_softmax: WGSL allows log
// 2⁻²¹ near 1 and 3 ulp elsewhere, and a relative error of its argument counts as an absolute one;
// one more difference. What x inherits moves log Σ exp by its largest part at most.
fn reference(c: &RefCall<'_>, log: bool) -> Approx {
    let mut out = c.input(0).clone();
    let (width, work) = (c.sizes.get(C), out.value.len() * 8);
    for_each_row(width, &mut out.value, &mut out.error, work, |_, value, error| {
        let top = value.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
        let counts: Vec<bool> = value.iter().map(|v| *v != f64::NEG_INFINITY).collect();
        let inherited = error.iter().zip(&counts).filter(|(_, c)| **c).fold(0f64, |m, (e, _)| m.max(*e));
        let weights: Vec<_> = value.iter().zip(&counts).map(|(v, c)| weight(v - top, *c)).collect();
        let mass = weights.iter().map(|w| w.0).sum::<f64>();
        let n = width as f64 + 1.0;
        let sum_off = weights.iter().map(|w| w.1).sum::<f64>() + n.min(LAMBDA * n.sqrt()) * U32 * mass;
        let sum_relative = sum_off / (mass - sum_off).max(0.5);
        for i in 0..width {
            let (w, w_error) = weights[i];
            let moved = error[i] + inherited;
            (value[i], error[i]) = match (counts[i], log) {
                (false, false) => (0.0, quotient_error(0.0)),
                (false, true) => (f64::NEG_INFINITY, 0.0),
                (true, false) => {
                    let y = w / mass;
                    let own = w_error / mass * (1.0 + sum_relative) + y * sum_relative + quotient_error(y);
                    (y, round_error(y, (own + (y + own) * moved.min(700.0).exp_m1()).min(1.0)))
                }
                (true, true) => {
                    let (d, log_mass) = (value[i] - top, mass.ln());
                    let log_off = log_error(mass, log_mass).max(log_error(mass - sum_off, log_mass));
                    let log_off = sum_relative + log_off;
                    (d - log_mass, round_error(d - log_mass, moved + ROUND * d.abs() + log_off))
                }
            };
        }
    });
    out
}

/// exp(d) and its error as the kernel computes it, less what x inherits; it is 0 where it would not
/// be normal.
fn weight(d: f64, counts: bool) -> (f64, f64) {
    if !counts {
        return (0.0, 0.0);
    }
    let w = d.exp();
    let relative = if d == 0.0 { exp_error(0.0) } else { exp_error(d) + ROUND * d.abs() };
    (w, w * relative.min(700.0).exp_m1() + if d < -80.0 { 4e-38 } else { 0.0 })
}

/// The largest of a row of finite numbers, and log Σ exp of what they lie above it, with its error as that of
/// `log_softmax`. What the numbers inherit moves log Σ by as much at most.
pub(crate) fn log_mass(value: &[f64], error: &[f64]) -> (f64, (f64, f64)) {
    let top = value.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
    let inherited = error.iter().fold(0f64, |m, e| m.max(*e));
    let (mut mass, mut off) = (0.0, 0.0);
    for v in value {
        let (w, e) = weight(v - top, true);
        (mass, off) = (mass + w, off + e);
    }
    let n = value.len() as f64 + 1.0;
    let off = off + n.min(LAMBDA * n.sqrt()) * U32 * mass;
    let log = f64::ln(mass);
    let log_off = log_error(mass, log).max(log_error(mass - off, log));
    (top, (log, inherited + off / (mass - off).max(0.5) + log_off))
}

fn build(g: &mut Graph, shape: &Shape, op: &'static Op) -> Result<()> {
    let dims = [R, C].map(|a| shape.sizes.get(a).into());
    let mut x = g.input("x", shape.x, &dims)?;
    if shape.variant == 2 {
        x = g.scale(x, crate::op::Attr::F32(0.5))?;
        let bias = g.input("bias", shape.x, &dims)?;
        x = g.add(x, bias)?;
    }
    let mut y = g.apply_one(op, &[Some(x)], &[])?;
    if shape.variant == 2 {
        y = g.scale(y, crate::op::Attr::F32(-2.0))?;
    }
    g.output("y", y)
}

fn fill(name: &str, shape: &Shape, rng: &mut crate::rng::Rng) -> Option<Vec<f64>> {
    let (rows, width) = (shape.sizes.get(R), shape.sizes.get(C));
    let masked = |i: usize, rng: &mut crate::rng::Rng| {
        let hidden = rng.below(3) == 0 || i / width.max(1) == 1;
        if hidden { f64::NEG_INFINITY } else { 4.0 * rng.signed() }
    };
    match shape.variant {
        1 if name == "x" => Some((0..rows * width).map(|i| masked(i, rng)).collect()),
        // Results from 1 to below f32's normal numbers, in every second row of elements far below 0.
        3 if name == "x" => {
            let low = |i: usize| if i / width.max(1) % 2 == 1 { -1000.0 } else { 0.0 };
            Some((0..rows * width).map(|i| 60.0 * rng.signed() + low(i)).collect())
        }
        _ => None,
    }
}

impl Graph {
    /// exp(x) / Σ exp(x) along an axis of `x`. -∞ gives 0, also where there is nothing else along the
    /// axis.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` has no such axis.
    pub fn softmax(&mut self, x: ValueId, axis: usize) -> Result<ValueId> {
        self.along_last(&SOFTMAX, x, axis)
    }

    /// log(softmax(x)) along an axis of `x`, also where softmax(x) is too small for its type. -∞ gives the
    /// type's least number: not every device can store an infinity.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` has no such axis.
    pub fn log_softmax(&mut self, x: ValueId, axis: usize) -> Result<ValueId> {
        self.along_last(&LOG_SOFTMAX, x, axis)
    }

    fn along_last(&mut self, op: &'static Op, x: ValueId, axis: usize) -> Result<ValueId> {
        self.has(x)?;
        let rank = self.value(x).shape.len();
        if axis >= rank {
            return Err(Error::Shape(format!("{}: `x` has {rank} axes, but axis {axis} was named", op.name)));
        }
        if axis + 1 == rank {
            return self.apply_one(op, &[Some(x)], &[]);
        }
        let mut order: Vec<_> = (0..rank).collect();
        order.swap(axis, rank - 1);
        let x = self.transpose(x, &order)?;
        let y = self.apply_one(op, &[Some(x)], &[])?;
        self.transpose(y, &order)
    }
}

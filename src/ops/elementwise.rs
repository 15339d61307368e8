//! Functions element by element, of one tensor or of two.
//!
//! They have one kernel, `elementwise.rows`, and rarely need it: the planner lets them ride along
//! in the kernel before or after.

use crate::dim::Expr;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::{Approx, EITHER_NEIGHBOUR, U32, round_error};
use crate::op::Axis::{C, R};
use crate::op::{
    Arg, Attr, AttrKind, Axes, Binary, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Sizes, Unary,
};
use crate::ops::past_one_axis;
use crate::plan::Numerics;

static ROWS: Kernel = Kernel {
    name: "elementwise.rows",
    file: "elementwise.wgsl",
    source: include_str!("../../shaders/elementwise.wgsl"),
    blocks: &[(R, 16), (C, 64)],
    fits: |_| Ok(()),
    knobs: |_| Vec::new(),
    workgroups: |s| {
        let groups = s.size(C).div_ceil(4) as u64;
        Expr::Mul(vec![s.dim(R).into(), Expr::from(crate::Dim::from(groups))]).ceil_div(64)
    },
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]) * (s.post.len() as f64 * 8.0 + 1.0),
        bytes: s.bytes("x") + s.bytes("y") + s.bytes("x") * s.post.len() as f64 * 0.5,
        invocations: s.sizes.product(&[R, C]) / 4.0,
    },
    numerics: Numerics::F32,
    batch_invariant: true,
};

/// A chain of elementwise ops, as the planner sees it when no producer takes it in: y = post(x).
pub static ELEMENTWISE: Op = Op {
    name: "elementwise",
    formula: "y[r, c] = post(x[r, c])",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], FLOATS)],
    outputs: &[Arg::new("y", &[R, C], FLOATS)],
    attrs: &[],
    infer: |i| same_shape(i, None),
    reference: |c| vec![c.input(0).clone()],
    flops: |_| 0.0,
    kernels: &[&ROWS],
    cases: CASES_UNARY,
};

const CASES_UNARY: Cases = Cases {
    axes: &[(R, 3), (C, 5)],
    weights: &[DType::F32],
    variants: &["plain"],
    many_workgroups: |_| Some(Sizes::new(&[(R, past_one_axis(64)), (C, 1)])),
    build: |_, _| Ok(()),
    fill: |_, _, _| None,
};

macro_rules! unary {
    ($id:ident, $name:literal, $method:ident, $f:expr, $formula:literal) => {
        #[doc = concat!("y = ", $formula, ", element by element.")]
        pub static $id: Op = Op {
            name: $name,
            formula: concat!("y[r, c] = ", $formula),
            kind: Kind::Unary($f),
            attrs: if matches!($f, Unary::Scale) { &[("scale", AttrKind::Float)] } else { &[] },
            reference: |c| vec![map(c, $f)],
            flops: |s| s.product(&[R, C]),
            cases: Cases {
                build: |g, shape| {
                    let dims = [shape.sizes.get(R).into(), shape.sizes.get(C).into()];
                    let x = g.input("x", shape.x, &dims)?;
                    let attrs: &[_] =
                        if matches!($f, Unary::Scale) { &[("scale", Attr::F32(-0.75))] } else { &[] };
                    let y = g.apply_one(&$id, &[Some(x)], attrs)?;
                    g.output("y", y)
                },
                ..CASES_UNARY
            },
            inputs: &[Arg::new("x", &[R, C], FLOATS)],
            outputs: &[Arg::new("y", &[R, C], FLOATS)],
            infer: |i| same_shape(i, None),
            kernels: &[&ROWS],
        };
    };
}

macro_rules! binary {
    ($id:ident, $name:literal, $method:ident, $f:expr, $formula:literal) => {
        #[doc = concat!("y = ", $formula, ", element by element; `b` has the shape of `a`, or is a row `[C]`.")]
        pub static $id: Op = Op {
            name: $name,
            formula: concat!("y[r, c] = ", $formula),
            kind: Kind::Binary($f),
            inputs: &[Arg::new("a", &[R, C], FLOATS), Arg::new("b", &[R, C], FLOATS)],
            outputs: &[Arg::new("y", &[R, C], FLOATS)],
            attrs: &[],
            infer: |i| same_shape(i, Some(1)),
            reference: |c| vec![zip(c, $f)],
            flops: |s| s.product(&[R, C]),
            kernels: &[&ROWS],
            cases: Cases {
                variants: &["full", "row", "row_first"],
                build: |g, shape| {
                    let dims = [shape.sizes.get(R).into(), shape.sizes.get(C).into()];
                    let row = |i| shape.variant == i;
                    let a = g.input("a", shape.x, &dims[usize::from(row(2))..])?;
                    let b = g.input("b", shape.x, &dims[usize::from(row(1))..])?;
                    let y = g.apply_one(&$id, &[Some(a), Some(b)], &[])?;
                    g.output("y", y)
                },
                // A divisor stays away from zero: next to it any quotient would be allowed.
                fill: |name, shape, rng| {
                    let divides = matches!($f, Binary::Div) && name == "b";
                    let n = shape.sizes.get(C) * if shape.variant == 1 { 1 } else { shape.sizes.get(R) };
                    let one = |sign: f64, v: f64| sign.signum() * (0.5 + v);
                    divides.then(|| (0..n).map(|_| one(rng.signed(), rng.unit())).collect())
                },
                ..CASES_UNARY
            },
        };
    };
}

unary!(RELU, "relu", relu, Unary::Relu, "max(x, 0)");
unary!(GELU, "gelu", gelu, Unary::Gelu, "x·(1 + erf(x/√2))/2");
unary!(GELU_TANH, "gelu_tanh", gelu_tanh, Unary::GeluTanh, "x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2");
unary!(SILU, "silu", silu, Unary::Silu, "x / (1 + exp(-x))");
unary!(SIGMOID, "sigmoid", sigmoid, Unary::Sigmoid, "1 / (1 + exp(-x))");
unary!(TANH, "tanh", tanh, Unary::Tanh, "tanh(x)");
unary!(SCALE, "scale", scale, Unary::Scale, "x·scale");
binary!(ADD, "add", add, Binary::Add, "a + b");
binary!(SUB, "sub", sub, Binary::Sub, "a - b");
binary!(MUL, "mul", mul, Binary::Mul, "a·b");
binary!(DIV, "div", div, Binary::Div, "a / b");

fn same_shape(i: &Infer<'_>, other: Option<usize>) -> Result<Inferred> {
    let a = i.operand(0)?.clone();
    let b = other.map(|o| i.operand(o)).transpose()?;
    let is_row = |small: &[crate::Dim], big: &[crate::Dim]| small.len() == 1 && big.last() == small.first();
    let shape = match b {
        Some(b) if b.shape == a.shape || is_row(&b.shape, &a.shape) => a.shape,
        Some(b) if is_row(&a.shape, &b.shape) => b.shape.clone(),
        Some(b) => {
            return Err(Error::Shape(format!(
                "{}: `b` must have the shape of `a` or be a row of its last axis, but `a` is {} and `b` is {}",
                i.op.name,
                crate::op::show_shape(&a.shape),
                crate::op::show_shape(&b.shape)
            )));
        }
        None => a.shape,
    };
    let Some((channels, leading)) = shape.split_last() else {
        return Err(Error::Shape(format!("{}: needs at least 1 axis, but has none", i.op.name)));
    };
    let axes = Axes::new(&[(R, crate::Dim::product(leading)), (C, channels.clone())]);
    let outputs = vec![(shape.clone(), a.dtype)];
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

/// Error of exp(-t) relative to it: (3 + 2|t|) ulp by the WGSL accuracy table.
pub(crate) fn exp_error(t: f64) -> f64 {
    (3.0 + 2.0 * t.abs()) * 2.0 * U32
}

/// 2.5 ulp, relative: what WGSL allows a division.
pub(crate) const DIVISION: f64 = 5.0 * U32;
/// What a product with an exponential that was clamped or flushed may be off, per unit.
const FLOOR: f64 = 4e-38;
const ROUND: f64 = EITHER_NEIGHBOUR * U32;

// sigmoid(w) = 1/(1 + e), e = exp(-w): e's relative error counts (1 - s) times; one sum, one division.
fn sigmoid(w: f64) -> (f64, f64) {
    let s = 1.0 / (1.0 + (-w).exp());
    (s, s * ((1.0 - s) * exp_error(w.clamp(-87.0, 87.0)) + ROUND + DIVISION) + FLOOR)
}

/// f(x), a bound on |f'|, and the error of evaluating f at exactly x as the shader does.
fn unary_at(f: Unary, x: f64, scale: f64) -> (f64, f64, f64) {
    match f {
        Unary::Relu => (x.max(0.0), 1.0, 0.0),
        Unary::Scale => (x * scale, scale.abs(), 0.0),
        Unary::Sigmoid => {
            let (s, e) = sigmoid(x);
            (s, 0.25, e)
        }
        Unary::Silu => {
            let (s, e) = sigmoid(x);
            (x * s, 1.1, x.abs() * e)
        }
        // An odd polynomial to x⁹: truncated at 0.2 u, five steps of Horner and a product.
        Unary::Tanh if x.abs() < 0.25 => (x.tanh(), 1.0, 12.0 * U32 * x.abs()),
        // t = (1 - e)/(1 + e), e = exp(-2|x|): dt/de = -2/(1 + e)²; two sums and a division.
        Unary::Tanh => {
            let (t, a) = (x.tanh(), x.abs().min(20.0));
            let e = (-2.0 * a).exp();
            let slope = 2.0 / ((1.0 + e) * (1.0 + e));
            (t, 1.0, slope * (e * exp_error(2.0 * a) + ROUND) + (2.0 * ROUND + DIVISION) * t.abs())
        }
        // |x|·erfcx(z)·exp(-z²)/2: erfcx to 16 u (fit, Horner, division); z to 4 u, so z² to 10 u,
        // which exp turns into z²·10 u; exp itself; three products.
        Unary::Gelu => {
            let z = (x.abs() / std::f64::consts::SQRT_2).min(9.3);
            let tail = x.abs() * 0.5 * libm::erfc(x.abs() / std::f64::consts::SQRT_2);
            let relative = 16.0 * U32 + 10.0 * U32 * z * z + exp_error(z * z) + 3.0 * ROUND;
            (x.max(0.0) - tail, 1.13, tail * relative + x.abs() * FLOOR)
        }
        // x·sigmoid(w), w to 14 u: the cube, the constants and three products.
        Unary::GeluTanh => {
            let t = x.clamp(-14.0, 14.0);
            let w = 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (t + 0.044715 * t * t * t);
            let (s, e) = sigmoid(w);
            let e = e + s * (1.0 - s) * 14.0 * U32 * w.abs();
            let exact = 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            (x / (1.0 + (-exact).exp()), 1.13, x.abs() * (e + FLOOR))
        }
    }
}

fn map(c: &RefCall<'_>, f: Unary) -> Approx {
    let x = c.input(0);
    let scale = c.attr("scale");
    let mut out = x.clone();
    for (v, e) in out.value.iter_mut().zip(&mut out.error) {
        let (y, slope, own) = unary_at(f, *v, scale);
        let error = slope * *e + own;
        *e = if f == Unary::Relu { error } else { round_error(y, error) };
        *v = y;
    }
    out
}

// a + b and a - b round once, a·b once, a / b by 2.5 ulp; errors of the operands to first order
// and the product of both.
fn zip(c: &RefCall<'_>, f: Binary) -> Approx {
    let (a, b) = (c.input(0), c.input(1));
    let (full, width) = if a.shape.len() >= b.shape.len() { (a, b.value.len()) } else { (b, a.value.len()) };
    let mut out = full.clone();
    let pick =
        |t: &Approx, i: usize| if t.shape.len() == full.shape.len() { t.at(i) } else { t.at(i % width) };
    for i in 0..full.value.len() {
        let ((x, ex), (y, ey)) = (pick(a, i), pick(b, i));
        (out.value[i], out.error[i]) = match f {
            Binary::Add => (x + y, round_error(x + y, ex + ey)),
            Binary::Sub => (x - y, round_error(x - y, ex + ey)),
            Binary::Mul => (x * y, round_error(x * y, x.abs() * ey + y.abs() * ex + ex * ey)),
            Binary::Div => {
                let v = x / y;
                let inherited = (ex + v.abs() * ey) / (y.abs() - ey).max(0.0);
                (v, round_error(v, inherited + DIVISION * v.abs()))
            }
        };
    }
    out
}

macro_rules! methods {
    ($($method:ident $id:ident $doc:literal),*) => {
        $(
            #[doc = $doc]
            ///
            /// # Errors
            /// [`Error::Argument`] if the type is not a float type.
            pub fn $method(&mut self, x: ValueId) -> Result<ValueId> {
                self.apply_one(&$id, &[Some(x)], &[])
            }
        )*
    };
    ($($method:ident($a:ident, $b:ident) $id:ident $doc:literal),*) => {
        $(
            #[doc = $doc]
            /// One operand may be a row `[C]` of the other's last axis; the type is `a`'s.
            ///
            /// # Errors
            /// [`Error::Shape`] if neither holds.
            pub fn $method(&mut self, $a: ValueId, $b: ValueId) -> Result<ValueId> {
                self.apply_one(&$id, &[Some($a), Some($b)], &[])
            }
        )*
    };
}

impl Graph {
    methods! {
        relu RELU "max(x, 0).",
        gelu GELU "x·Φ(x), with erf.",
        gelu_tanh GELU_TANH "The tanh approximation of gelu.",
        silu SILU "x·sigmoid(x).",
        sigmoid SIGMOID "1/(1 + e⁻ˣ).",
        tanh TANH "tanh(x)."
    }
    methods! {
        add(a, b) ADD "a + b.",
        sub(a, b) SUB "a - b.",
        mul(a, b) MUL "a·b.",
        div(a, b) DIV "a / b."
    }

    /// x times a number: fixed (`Attr::F32`), or given by each call ([`Graph::scalar`]).
    ///
    /// # Errors
    /// [`Error::Argument`] if the type is not a float type.
    pub fn scale(&mut self, x: ValueId, scale: Attr) -> Result<ValueId> {
        self.apply_one(&SCALE, &[Some(x)], &[("scale", scale)])
    }
}

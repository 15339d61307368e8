//! Functions element by element, of one tensor or of two.
//!
//! They have one kernel, `elementwise.rows`, and rarely need it: the planner lets them ride along
//! in the kernel before or after.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::op::Axis::{C, R};
use crate::op::{Arg, Attr, Axes, Binary, Cases, FLOATS, Infer, Inferred, Kind, NUMBERS, Op, Sizes, Unary};
use crate::ops::{parts, past_one_axis};
use crate::plan::Numerics;

mod binary;
pub(crate) mod unary;

pub(crate) use unary::{DIVISION, quotient_error};

static ROWS: Kernel = Kernel {
    name: "elementwise.rows",
    file: "elementwise.wgsl",
    source: include_str!("../../shaders/elementwise.wgsl"),
    blocks: &[(R, 16), (C, 64), (C, 256)],
    fits: |_| Ok(()),
    knobs: parts::knobs,
    workgroups: parts::workgroups,
    cost: |s| Work {
        flops: s.sizes.product(&[R, C]) * (s.post.len() as f64 * 8.0 + 1.0),
        bytes: s.bytes("x") + s.bytes("y") + s.bytes("x") * s.post.len() as f64 * 0.5,
        invocations: parts::invocations(s),
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

/// What can be cast.
const CASTABLE: &[DType] = &[DType::F32, DType::F16, DType::I8, DType::U8, DType::I32];

/// A chain of elementwise ops, as the planner sees it when no producer takes it in: y = post(x).
pub static ELEMENTWISE: Op = Op {
    name: "elementwise",
    formula: "y[r, c] = post(x[r, c])",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[R, C], NUMBERS)],
    outputs: &[Arg::new("y", &[R, C], NUMBERS)],
    attrs: &[],
    infer: |i| same_shape(i, None),
    reference: |c| vec![c.input(0).clone()],
    flops: |_| 0.0,
    kernels: &[&ROWS],
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

macro_rules! unary {
    ($($id:ident $name:literal $f:ident $formula:literal),* $(,)?) => { $(
        #[doc = concat!("y = ", $formula, ", element by element.")]
        pub static $id: Op = Op {
            name: $name,
            formula: concat!("y[r, c] = ", $formula),
            kind: Kind::Unary(Unary::$f),
            attrs: unary::attrs(Unary::$f),
            reference: |c| vec![unary::reference(c, Unary::$f)],
            flops: |s| s.product(&[R, C]),
            cases: Cases {
                variants: unary::variants(Unary::$f),
                build: |g, shape| {
                    let dims = [shape.sizes.get(R).into(), shape.sizes.get(C).into()];
                    let from = unary::case_type(Unary::$f, shape);
                    let x = g.input("x", from, &dims)?;
                    let attrs = unary::case_attrs(Unary::$f, shape);
                    let y = g.apply_one(&$id, &[Some(x)], &attrs)?;
                    g.output("y", y)
                },
                fill: |_, shape, rng| unary::fill(Unary::$f, shape, rng),
                // What is true of the kernel is true for all who share it.
                applies: |_| true,
                many_workgroups: |_| {
                    matches!(Unary::$f, Unary::Relu)
                        .then(|| Sizes::new(&[(R, past_one_axis(64)), (C, 1)]))
                },
                ..CASES
            },
            inputs: &[Arg::new("x", &[R, C], if matches!(Unary::$f, Unary::Cast) { CASTABLE } else { FLOATS })],
            outputs: &[Arg::new("y", &[R, C], NUMBERS)],
            infer: |i| same_shape(i, None),
            kernels: &[&ROWS],
        };
    )* };
}

macro_rules! binary {
    ($($id:ident $name:literal $f:ident $formula:literal),* $(,)?) => { $(
        #[doc = concat!("y = ", $formula, ", element by element; `b` has the shape of `a`, or one is a \
            row `[C]` of the other's last axis.")]
        pub static $id: Op = Op {
            name: $name,
            formula: concat!("y[r, c] = ", $formula),
            kind: Kind::Binary(Binary::$f),
            inputs: &[Arg::new("a", &[R, C], FLOATS), Arg::new("b", &[R, C], NUMBERS)],
            outputs: &[Arg::new("y", &[R, C], FLOATS)],
            attrs: &[],
            infer: |i| same_shape(i, Some(1)),
            reference: |c| vec![binary::reference(c, Binary::$f)],
            flops: |s| s.product(&[R, C]),
            kernels: &[&ROWS],
            cases: Cases {
                variants: binary::VARIANTS,
                build: |g, shape| binary::build(g, shape, &$id),
                fill: |name, shape, rng| binary::fill(Binary::$f, name, shape, rng),
                ..CASES
            },
        };
    )* };
}

unary! {
    RELU "relu" Relu "max(x, 0)",
    GELU "gelu" Gelu "x·(1 + erf(x/√2))/2",
    GELU_TANH "gelu_tanh" GeluTanh "x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2",
    SILU "silu" Silu "x / (1 + exp(-x))",
    SIGMOID "sigmoid" Sigmoid "1 / (1 + exp(-x))",
    TANH "tanh" Tanh "tanh(x)",
    SOFTPLUS "softplus" Softplus "ln(1 + exp(x))",
    NEG "neg" Neg "-x",
    ABS "abs" Abs "|x|",
    SIGN "sign" Sign "-1 where x < 0, 1 where x > 0, else 0",
    EXP "exp" Exp "exp(x), at most the largest number",
    LOG "log" Log "ln(x), x ≥ 0; for 0 the least number",
    SQUARE "square" Square "x²",
    SQRT "sqrt" Sqrt "√x, x ≥ 0",
    RSQRT "rsqrt" Rsqrt "1/√x, x > 0",
    RECIPROCAL "reciprocal" Reciprocal "1/x",
    ERF "erf" Erf "2/√π · ∫₀ˣ exp(-t²) dt",
    FLOOR "floor" Floor "the largest whole number that is at most x",
    CEIL "ceil" Ceil "the smallest whole number that is at least x",
    ROUND "round" Round "the whole number nearest to x, halves to the even one",
    ROUND_AWAY "round_away" RoundAway "the whole number nearest to x, halves away from zero",
    SCALE "scale" Scale "x·scale",
    OFFSET "offset" Offset "x + offset",
    CLAMP "clamp" Clamp "min(max(x, min), max)",
    ELU "elu" Elu "x where x ≥ 0, else alpha·(exp(x) - 1)",
    LEAKY_RELU "leaky_relu" LeakyRelu "x where x ≥ 0, else alpha·x",
    CAST "cast" Cast "x as the type `to`; to integers by dropping the fraction, saturated",
}

binary! {
    ADD "add" Add "a + b",
    SUB "sub" Sub "a - b",
    MUL "mul" Mul "a·b",
    DIV "div" Div "a / b",
    POW "pow" Pow "aᵇ, b a whole number where a < 0",
    MINIMUM "minimum" Minimum "min(a, b)",
    MAXIMUM "maximum" Maximum "max(a, b)",
    EQUAL "equal" Equal "1 where a = b, else 0",
    LESS "less" Less "1 where a < b, else 0",
    LESS_EQUAL "less_equal" LessEqual "1 where a ≤ b, else 0",
    GREATER "greater" Greater "1 where a > b, else 0",
    GREATER_EQUAL "greater_equal" GreaterEqual "1 where a ≥ b, else 0",
}

fn same_shape(i: &Infer<'_>, other: Option<usize>) -> Result<Inferred> {
    let a = i.operand(0)?.clone();
    let b = other.map(|o| i.operand(o)).transpose()?;
    let is_row = |small: &[Dim], big: &[Dim]| small.len() == 1 && big.last() == small.first();
    let shape = match b {
        Some(b) if b.shape == a.shape || is_row(&b.shape, &a.shape) => a.shape,
        Some(b) if is_row(&a.shape, &b.shape) => b.shape.clone(),
        Some(b) => {
            return Err(Error::Shape(format!(
                "{}: `b` must have the shape of `a` or be a row of its last axis, but `a` is {} and `b` is {}",
                i.op.name,
                i.show(&a.shape),
                i.show(&b.shape)
            )));
        }
        None => a.shape,
    };
    let Some((channels, leading)) = shape.split_last() else {
        return Err(Error::Shape(format!("{}: needs at least 1 axis, but has none", i.op.name)));
    };
    let dtype = match i.attr_u32("to") {
        Some(to) => cast_type(to)?,
        None => a.dtype,
    };
    let axes = Axes::new(&[(R, Dim::product(leading)), (C, channels.clone())]);
    let outputs = vec![(shape.clone(), dtype)];
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

fn cast_type(to: u32) -> Result<DType> {
    match DType::ALL.get(to as usize) {
        Some(dtype) if NUMBERS.contains(dtype) => Ok(*dtype),
        Some(dtype) => Err(Error::Argument(format!("cast: {dtype} is no type that a tensor can be cast to"))),
        None => Err(Error::Argument(format!("cast: there is no type number {to}"))),
    }
}

macro_rules! methods {
    ($($method:ident $id:ident $doc:literal),* $(,)?) => {
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
    ($($method:ident($a:ident, $b:ident) $id:ident $doc:literal),* $(,)?) => {
        $(
            #[doc = $doc]
            /// The operands are broadcast as numpy does: from the last axis on, sizes are equal or one
            /// of them is 1. The result has the type of `a`.
            ///
            /// # Errors
            /// [`Error::Shape`] if the shapes do not go together, [`Error::Argument`] for types.
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
        tanh TANH "tanh(x).",
        softplus SOFTPLUS "ln(1 + eˣ).",
        neg NEG "-x.",
        abs ABS "|x|.",
        sign SIGN "-1, 0 or 1.",
        exp EXP "eˣ; past the largest f32 it is that. As f16, nothing is promised past f16.",
        log LOG "ln(x) for positive x; for 0 the least f32. As f16, nothing is promised of 0.",
        square SQUARE "x².",
        sqrt SQRT "√x, for x that is not negative.",
        rsqrt RSQRT "1/√x, for positive x.",
        reciprocal RECIPROCAL "1/x.",
        erf ERF "The error function.",
        floor FLOOR "The next whole number down.",
        ceil CEIL "The next whole number up.",
        round ROUND "The nearest whole number, halves to the even one.",
        round_away ROUND_AWAY "The nearest whole number, halves away from zero.",
    }
    methods! {
        add(a, b) ADD "a + b.",
        sub(a, b) SUB "a - b.",
        mul(a, b) MUL "a·b.",
        div(a, b) DIV "a / b.",
        pow(a, b) POW "aᵇ; where a is negative, b must be a whole number.",
        minimum(a, b) MINIMUM "The smaller of the two.",
        maximum(a, b) MAXIMUM "The larger of the two.",
        equal(a, b) EQUAL "1 where a = b, else 0.",
        less(a, b) LESS "1 where a < b, else 0.",
        less_equal(a, b) LESS_EQUAL "1 where a ≤ b, else 0.",
        greater(a, b) GREATER "1 where a > b, else 0.",
        greater_equal(a, b) GREATER_EQUAL "1 where a ≥ b, else 0.",
    }

    /// x times a number: fixed (`Attr::F32`), or given by each call ([`Graph::scalar`]).
    ///
    /// # Errors
    /// [`Error::Argument`] if the type is not a float type.
    pub fn scale(&mut self, x: ValueId, scale: Attr) -> Result<ValueId> {
        self.apply_one(&SCALE, &[Some(x)], &[("scale", scale)])
    }

    /// x plus a number: fixed (`Attr::F32`), or given by each call ([`Graph::scalar`]).
    ///
    /// # Errors
    /// [`Error::Argument`] if the type is not a float type.
    pub fn offset(&mut self, x: ValueId, offset: Attr) -> Result<ValueId> {
        self.apply_one(&OFFSET, &[Some(x)], &[("offset", offset)])
    }

    /// x kept between two numbers, of which the second wins.
    ///
    /// # Errors
    /// [`Error::Argument`] if the type is not a float type, or `min` is larger than `max`.
    pub fn clamp(&mut self, x: ValueId, min: f32, max: f32) -> Result<ValueId> {
        if min.is_nan() || max.is_nan() || min > max {
            return Err(Error::Argument(format!("clamp: `min` is {min}, but `max` is {max}")));
        }
        // Infinities are not passed to kernels: WGSL promises nothing of them.
        let finite = |v: f32| Attr::F32(v.clamp(f32::MIN, f32::MAX));
        self.apply_one(&CLAMP, &[Some(x)], &[("min", finite(min)), ("max", finite(max))])
    }

    /// x, or alpha·(eˣ - 1) where x is negative.
    ///
    /// # Errors
    /// [`Error::Argument`] if the type is not a float type.
    pub fn elu(&mut self, x: ValueId, alpha: f32) -> Result<ValueId> {
        self.apply_one(&ELU, &[Some(x)], &[("alpha", Attr::F32(alpha))])
    }

    /// x, or alpha·x where x is negative.
    ///
    /// # Errors
    /// [`Error::Argument`] if the type is not a float type.
    pub fn leaky_relu(&mut self, x: ValueId, alpha: f32) -> Result<ValueId> {
        self.apply_one(&LEAKY_RELU, &[Some(x)], &[("alpha", Attr::F32(alpha))])
    }

    /// x as another type: to f16 rounded, to i8 or u8 by dropping the fraction and saturated.
    ///
    /// # Errors
    /// [`Error::Argument`] for types other than f32, f16, i8 and u8.
    pub fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId> {
        self.has(x)?;
        if self.value(x).dtype == to {
            return Ok(x);
        }
        let place = DType::ALL.iter().position(|d| *d == to).unwrap_or(0);
        self.apply_one(&CAST, &[Some(x)], &[("to", Attr::U32(place as u32))])
    }

    /// Two operands, broadcast to one shape; one may stay a row of its last axis.
    pub(crate) fn side_by_side(&mut self, op: &Op, a: ValueId, b: ValueId) -> Result<[ValueId; 2]> {
        let shape = self.broadcast_shape(op.name, &[a, b])?;
        Ok([self.beside(a, &shape)?, self.beside(b, &shape)?])
    }

    /// An operand as the binary ops take it: of this shape, or a row of its last axis.
    fn beside(&mut self, x: ValueId, shape: &[Dim]) -> Result<ValueId> {
        let own = self.value(x).shape.clone();
        let is_one = |d: &Dim| d.constant() == Some(1);
        match own.split_last() {
            Some((last, leading))
                if own != shape && shape.last() == Some(last) && leading.iter().all(is_one) =>
            {
                if leading.is_empty() { Ok(x) } else { self.reshape(x, std::slice::from_ref(last)) }
            }
            _ => self.expand(x, shape),
        }
    }
}

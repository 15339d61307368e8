//! The functions of one operand: their values, and what evaluating them as the shaders do may cost.

use crate::dtype::DType;
use crate::kernel::chain::cast_to;
use crate::numerics::{Approx, EITHER_NEIGHBOUR, U32, left_over, round_error};
use crate::op::Axis::{C, R};
use crate::op::{Attr, AttrKind, RefCall, Shape, Unary};
use crate::rng::Rng;

/// Error of exp(-t) relative to it: (3 + 2|t|) ulp by the WGSL accuracy table.
pub(crate) fn exp_error(t: f64) -> f64 {
    (3.0 + 2.0 * t.abs()) * 2.0 * U32
}

/// 2.5 ulp, relative: what WGSL allows a division.
pub(crate) const DIVISION: f64 = 5.0 * U32;

/// By how much WGSL lets the quotient `v` be off: 2.5 ulp, the ulp of 0 being the least denormal. So
/// not even 0 divided by something need be 0.
pub(crate) fn quotient_error(v: f64) -> f64 {
    DIVISION * v.abs() + 2.5 * 2f64.powi(-149)
}
/// What a product with an exponential that was clamped or flushed may be off, per unit.
pub(crate) const FLOOR: f64 = 4e-38;
pub(crate) const ROUND: f64 = EITHER_NEIGHBOUR * U32;
/// From here on the shader's exponential is the largest number; f32 ends 4e-5 later.
const MAX_EXPONENT: f64 = 88.7228;

/// What WGSL allows a logarithm to any base whose value is v: 2⁻²¹ for arguments from 1/2 to 2, else 3 ulp.
pub(crate) fn log_error(x: f64, v: f64) -> f64 {
    if (0.5..=2.0).contains(&x) { 8.0 * U32 } else { 6.0 * U32 * v.abs() }
}

// sigmoid(w) = 1/(1 + e), e = exp(-w): e's relative error counts (1 - s) times; one sum, one division.
fn sigmoid(w: f64) -> (f64, f64) {
    let s = 1.0 / (1.0 + (-w).exp());
    (s, s * ((1.0 - s) * exp_error(w.clamp(-87.0, 87.0)) + ROUND + DIVISION) + FLOOR)
}

// Near 0 an odd polynomial to x⁹: truncated at 0.2 u, five steps of Horner and a product. Else
// t = (1 - e)/(1 + e), e = exp(-2|x|): dt/de = -2/(1 + e)²; two sums and a division.
pub(crate) fn tanh(x: f64) -> (f64, f64) {
    if x.abs() < 0.25 {
        return (x.tanh(), 12.0 * U32 * x.abs());
    }
    let (t, a) = (x.tanh(), x.abs().min(20.0));
    let e = (-2.0 * a).exp();
    let slope = 2.0 / ((1.0 + e) * (1.0 + e));
    (t, slope * (e * exp_error(2.0 * a) + ROUND) + (2.0 * ROUND + DIVISION) * t.abs())
}

/// How an error of x reaches f(x).
enum Slope {
    /// At most this many times.
    AtMost(f64),
    /// f only rises or only falls: as far as at the ends of x's interval.
    Monotone,
}

/// f(x), how errors of x reach it, and the error of evaluating f at exactly x as the shader does.
fn at(f: Unary, x: f64, [a, b]: [f64; 2], to: DType) -> (f64, Slope, f64) {
    use Slope::{AtMost, Monotone};
    let exact = |v: f64| (v, Monotone, 0.0);
    match f {
        Unary::Relu => exact(x.max(0.0)),
        Unary::Abs => (x.abs(), AtMost(1.0), 0.0),
        Unary::Neg => exact(-x),
        Unary::Sign => exact(if x == 0.0 { 0.0 } else { x.signum() }),
        Unary::Floor => exact(x.floor()),
        Unary::Ceil => exact(x.ceil()),
        Unary::Round => exact(x.round_ties_even()),
        Unary::RoundAway => exact(x.round()),
        Unary::Clamp => exact(x.max(a).min(b)),
        Unary::Cast => exact(to.integer_range().map_or(x, |(low, high)| x.trunc().clamp(low, high))),
        Unary::Scale => rounded(x * a, AtMost(a.abs())),
        // Not monotone, but farthest at an end all the same.
        Unary::Square => rounded(x * x, Monotone),
        Unary::Offset => (x + a, AtMost(1.0), left_over(x, a)),
        Unary::LeakyRelu if x < 0.0 => rounded(a * x, AtMost(a.abs().max(1.0))),
        Unary::LeakyRelu => (x, AtMost(a.abs().max(1.0)), 0.0),
        Unary::Sigmoid | Unary::Silu | Unary::Tanh | Unary::Gelu | Unary::GeluTanh => smooth(f, x),
        Unary::Elu => elu(x, a),
        Unary::Exp if x > MAX_EXPONENT => (x.exp(), Monotone, x.exp() * 5e-5),
        Unary::Exp => (x.exp(), Monotone, x.exp() * exp_error(x) + FLOOR),
        Unary::Log if x == 0.0 => exact(-DType::F32.max_finite()),
        Unary::Log if x < 0.0 => (f64::NAN, Monotone, f64::INFINITY),
        Unary::Log => (x.ln(), Monotone, log_error(x, x.ln())),
        Unary::Sqrt if x < 0.0 => (f64::NAN, Monotone, f64::INFINITY),
        // x·inverseSqrt(x): 2 ulp and a product.
        Unary::Sqrt => (x.sqrt(), Monotone, x.sqrt() * (4.0 * U32 + ROUND)),
        Unary::Rsqrt if x <= 0.0 => (f64::NAN, Monotone, f64::INFINITY),
        Unary::Rsqrt => (1.0 / x.sqrt(), Monotone, 4.0 * U32 / x.sqrt()),
        Unary::Reciprocal if x == 0.0 => (f64::NAN, Monotone, f64::INFINITY),
        Unary::Reciprocal => (1.0 / x, Monotone, DIVISION / x.abs()),
        // An odd Taylor series to x¹⁵, truncated at 0.01 u: seven steps of Horner and two products.
        Unary::Erf if x.abs() < 0.5 => (libm::erf(x), Monotone, 14.0 * U32 * x.abs() * 1.13),
        // 1 - erfcx(z)·exp(-z²): erfcx to 16 u, z² to a rounding, which exp turns into z² times that.
        Unary::Erf => {
            let z = x.abs().min(9.3);
            let relative = 16.0 * U32 + ROUND * z * z + exp_error(z * z) + 2.0 * ROUND;
            (libm::erf(x), Monotone, libm::erfc(x.abs()) * relative + ROUND)
        }
        // ln(1 + e): e to its own error; t in three roundings and a division, the series in Horner's
        // eight steps (its terms fall by 9), truncated at 0.05 u, a product; one sum.
        Unary::Softplus => {
            let part = (-x.abs()).exp().ln_1p();
            let relative = exp_error(x.abs().min(87.0)) + DIVISION + 12.0 * U32;
            (x.max(0.0) + part, Monotone, part * relative + ROUND * (x.max(0.0) + part) + FLOOR)
        }
    }
}

fn rounded(v: f64, slope: Slope) -> (f64, Slope, f64) {
    (v, slope, 0.0)
}

/// alpha·(eˣ - 1) below 0. Far from 0 exp's error and a difference, near it a Taylor series.
fn elu(x: f64, alpha: f64) -> (f64, Slope, f64) {
    if x >= 0.0 {
        return (x, Slope::AtMost(alpha.abs().max(1.0)), 0.0);
    }
    let v = alpha * x.exp_m1();
    let own = if x > -0.5 {
        14.0 * U32 * v.abs()
    } else {
        alpha.abs() * (x.exp() * exp_error(x.max(-87.0)) + ROUND + FLOOR)
    };
    (v, Slope::AtMost(alpha.abs().max(1.0)), own)
}

/// The activations whose slope has a bound.
fn smooth(f: Unary, x: f64) -> (f64, Slope, f64) {
    let (v, slope, own) = match f {
        Unary::Sigmoid => {
            let (s, e) = sigmoid(x);
            (s, 0.25, e)
        }
        Unary::Silu => {
            let (s, e) = sigmoid(x);
            (x * s, 1.1, x.abs() * e)
        }
        Unary::Tanh => {
            let (t, e) = tanh(x);
            (t, 1.0, e)
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
        _ => {
            let t = x.clamp(-14.0, 14.0);
            let w = 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (t + 0.044715 * t * t * t);
            let (s, e) = sigmoid(w);
            let e = e + s * (1.0 - s) * 14.0 * U32 * w.abs();
            let exact = 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            (x / (1.0 + (-exact).exp()), 1.13, x.abs() * (e + FLOOR))
        }
    };
    (v, Slope::AtMost(slope), own)
}

/// Functions whose results are exact when their operand is.
const fn is_exact(f: Unary) -> bool {
    use Unary as U;
    matches!(
        f,
        U::Relu
            | U::Abs
            | U::Neg
            | U::Sign
            | U::Floor
            | U::Ceil
            | U::Round
            | U::RoundAway
            | U::Clamp
            | U::Cast
    )
}

pub(super) fn reference(c: &RefCall<'_>, f: Unary) -> Approx {
    let number = |i: usize| f.numbers().get(i).map_or(0.0, |name| c.attr(name));
    let numbers = [number(0), number(1)];
    let to = cast_to([Some(Attr::U32(c.attr("to") as u32)), None]);
    let mut out = c.input(0).clone();
    // What is wider than f32 is rounded where it is read.
    let wide = c.dtypes[0] == Some(DType::I32);
    for (v, e) in out.value.iter_mut().zip(&mut out.error) {
        let ex = if wide { round_error(*v, *e) } else { *e };
        (*v, *e) = of(f, (*v, ex), numbers, to);
    }
    out
}

/// f(x) and its error, given that of x.
pub(crate) fn of(f: Unary, (x, ex): (f64, f64), numbers: [f64; 2], to: DType) -> (f64, f64) {
    let (y, slope, own) = at(f, x, numbers, to);
    let inherited = match slope {
        _ if ex == 0.0 => 0.0,
        Slope::AtMost(slope) => slope * ex,
        Slope::Monotone => {
            let end = |x: f64| (at(f, x, numbers, to).0 - y).abs();
            let far = end(x - ex).max(end(x + ex));
            let pole = f == Unary::Reciprocal && ex >= x.abs() || far.is_nan();
            if pole { f64::INFINITY } else { far }
        }
    };
    if own.is_infinite() {
        (y, f64::INFINITY) // out of the function's domain, where nothing is promised
    } else if is_exact(f) || f == Unary::Log && x == 0.0 {
        (y, inherited)
    } else {
        (y, round_error(y, inherited + own))
    }
}

/// The attributes of a function.
pub(super) const fn attrs(f: Unary) -> &'static [(&'static str, AttrKind)] {
    match f {
        Unary::Scale => &[("scale", AttrKind::Float)],
        Unary::Offset => &[("offset", AttrKind::Float)],
        Unary::Clamp => &[("min", AttrKind::Float), ("max", AttrKind::Float)],
        Unary::Elu | Unary::LeakyRelu => &[("alpha", AttrKind::Float)],
        Unary::Cast => &[("to", AttrKind::U32)],
        _ => &[],
    }
}

/// The ways in which a function is tested.
pub(super) const fn variants(f: Unary) -> &'static [&'static str] {
    match f {
        Unary::Cast => &["to_i8", "to_u8", "from_i8", "from_u8", "to_other_float", "from_i32"],
        _ => &["plain"],
    }
}

/// The type of a case's operand.
pub(super) fn case_type(f: Unary, shape: &Shape) -> DType {
    match (f, shape.variant) {
        (Unary::Cast, 2) => DType::I8,
        (Unary::Cast, 3) => DType::U8,
        (Unary::Cast, 5) => DType::I32,
        _ => shape.x,
    }
}

/// The attributes of a case.
pub(super) fn case_attrs(f: Unary, shape: &Shape) -> Vec<(&'static str, Attr)> {
    if f == Unary::Cast {
        let other = if shape.x == DType::F16 { DType::F32 } else { DType::F16 };
        let to = [DType::I8, DType::U8, shape.x, shape.x, other, DType::F32][shape.variant];
        let place = DType::ALL.iter().position(|d| *d == to).unwrap_or(0);
        return vec![("to", Attr::U32(place as u32))];
    }
    let values: &[f32] = if f == Unary::Clamp { &[-0.5, 0.75] } else { &[-0.75] };
    f.numbers().iter().zip(values).map(|(name, v)| (*name, Attr::F32(*v))).collect()
}

/// Operands that are in the function's domain, and where rounding shows.
pub(super) fn fill(f: Unary, shape: &Shape, rng: &mut Rng) -> Option<Vec<f64>> {
    let octaves = if shape.x == DType::F16 { 10.0 } else { 24.0 };
    let one = |rng: &mut Rng| match f {
        // Halves and quarters among whole numbers, of both signs.
        Unary::Round | Unary::RoundAway | Unary::Floor | Unary::Ceil => {
            (rng.below(1001) as f64 - 500.0) / 4.0
        }
        Unary::Cast if shape.variant < 2 => (rng.below(4801) as f64 - 2400.0) / 8.0,
        Unary::Exp => 10.0 * rng.signed(),
        Unary::Log | Unary::Sqrt | Unary::Rsqrt => (octaves * rng.signed()).exp2(),
        Unary::Reciprocal => rng.signed().signum() * (octaves * rng.signed()).exp2(),
        _ => 0.0,
    };
    let fills = matches!(
        f,
        Unary::Round
            | Unary::RoundAway
            | Unary::Floor
            | Unary::Ceil
            | Unary::Exp
            | Unary::Log
            | Unary::Sqrt
            | Unary::Rsqrt
            | Unary::Reciprocal
    ) || f == Unary::Cast && shape.variant < 2;
    fills.then(|| (0..shape.sizes.get(R) * shape.sizes.get(C)).map(|_| one(rng)).collect())
}

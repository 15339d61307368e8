//! Built-ins that may be inexact: the exact result, moved by as much of what WGSL's table allows as a
//! personality takes. Where the table says "inherited from", so does this.

use std::f64::consts::{FRAC_PI_2, PI};

use super::super::program::{Binary, Ternary, Ty, Unary};
use super::super::{Inexact, Rounding};
use super::lanes::{floor, hash};
use super::{Format, Numbers, exact, tag_of};

/// How far a result may be from the exact one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::virtual_gpu) enum Bound {
    /// So many [`Format::ulp`] of the exact result.
    Ulps(f64),
    /// So much.
    Absolute(f64),
}

impl Bound {
    /// As a distance from `result`.
    pub fn distance(self, format: Format, result: f64) -> f64 {
        match self {
            Self::Ulps(n) => n * format.ulp(result),
            Self::Absolute(d) => d,
        }
    }

    /// WGSL, "Accuracy of concrete floating point expressions": the rows that are a number, and where
    /// they hold for `x`. `None` where nothing is promised.
    pub fn of(op: Unary, ty: Ty, x: f64) -> Option<Self> {
        let half = ty == Ty::F16;
        let pick = |f32, f16| if half { f16 } else { f32 };
        Some(match op {
            Unary::Acos => Self::Absolute(pick(6.77e-5, 3.91e-3)),
            Unary::Asin => Self::Absolute(pick(6.81e-5, 3.91e-3)),
            Unary::Atan => Self::Ulps(pick(4096.0, 5.0)),
            Unary::Cos | Unary::Sin if x.abs() <= PI => Self::Absolute(pick(2f64.powi(-11), 2f64.powi(-7))),
            Unary::Cos | Unary::Sin => return None,
            Unary::Exp | Unary::Exp2 => Self::Ulps(pick(3.0, 1.0) + 2.0 * x.abs()),
            Unary::InverseSqrt => Self::Ulps(2.0),
            Unary::Log | Unary::Log2 if (0.5..=2.0).contains(&x) => {
                Self::Absolute(pick(2f64.powi(-21), 2f64.powi(-7)))
            }
            Unary::Log | Unary::Log2 => Self::Ulps(3.0),
            // Or worse, where sinh and cosh overflow.
            Unary::Tanh => Self::Absolute(1.0e-5),
            _ => Self::Ulps(0.0),
        })
    }
}

/// The divisors for which WGSL promises a quotient within 2.5 ULP.
pub(in crate::virtual_gpu) fn divisors(ty: Ty) -> std::ops::RangeInclusive<f64> {
    let e = if ty == Ty::F16 { 14 } else { 126 };
    2f64.powi(-e)..=2f64.powi(e)
}

/// The exact result of a built-in, as well as f64 has it.
pub(in crate::virtual_gpu) fn ideal(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Cos => libm::cos(x),
        Unary::Cosh => libm::cosh(x),
        Unary::Sin => libm::sin(x),
        Unary::Sinh => libm::sinh(x),
        Unary::Tan => libm::tan(x),
        Unary::Tanh => libm::tanh(x),
        Unary::Acos => libm::acos(x),
        Unary::Asin => libm::asin(x),
        Unary::Atan => libm::atan(x),
        Unary::Asinh => libm::asinh(x),
        Unary::Acosh => libm::acosh(x),
        Unary::Atanh => libm::atanh(x),
        Unary::Radians => x.to_radians(),
        Unary::Degrees => x.to_degrees(),
        Unary::Exp => libm::exp(x),
        Unary::Exp2 => libm::exp2(x),
        Unary::Log => libm::log(x),
        Unary::Log2 => libm::log2(x),
        Unary::Sqrt => x.sqrt(),
        Unary::InverseSqrt => 1.0 / x.sqrt(),
        _ => x,
    }
}

impl Numbers {
    pub(super) fn exact(&self) -> bool {
        self.inexact == Inexact::Exact
    }

    /// A number in [-1, 1]: how much of a bound is taken, and to which side.
    pub(super) fn share(&self, tag: u32, a: f32, b: f32) -> f64 {
        match self.inexact {
            Inexact::Exact => 0.0,
            Inexact::High => 1.0,
            Inexact::Low => -1.0,
            Inexact::Any => f64::from(hash(self.seed ^ tag, a.to_bits(), b.to_bits()) as i32) / 2f64.powi(31),
        }
    }

    /// The exact result, moved by a share of the distance, and the number of the type that is next in the
    /// direction of the exact result.
    pub(super) fn moved(&self, ty: Ty, ideal: f64, distance: f64, share: f64) -> f32 {
        let rounding = match share {
            s if s > 0.0 => Rounding::Down,
            s if s < 0.0 => Rounding::Up,
            _ => Rounding::Nearest,
        };
        let result = Format::of(ty).round(ideal + share * distance, rounding);
        f32::from_bits(self.output(ty, result))
    }

    /// A built-in whose row in the table is a number.
    fn bounded(&self, op: Unary, ty: Ty, x: f32) -> f32 {
        self.sided(op, ty, x, 1.0)
    }

    /// The same; with -1.0 for `side`, what errs upwards errs downwards, so that it adds up where it is a
    /// divisor or is subtracted.
    fn sided(&self, op: Unary, ty: Ty, x: f32, side: f64) -> f32 {
        let share = side * self.share(tag_of(1, op as u32), x, 0.0);
        let wide = f64::from(x);
        match Bound::of(op, ty, wide) {
            Some(bound) => {
                let ideal = ideal(op, wide);
                if !ideal.is_finite() {
                    return ideal as f32;
                }
                self.moved(ty, ideal, bound.distance(Format::of(ty), ideal), share)
            }
            // sin and cos of much: as far as they reach.
            None if !self.exact() && x.is_finite() => Format::of(ty).round(share, Rounding::Nearest),
            None => Format::of(ty).round(ideal(op, wide), Rounding::Nearest),
        }
    }

    /// A built-in of one number that may be inexact.
    pub(super) fn built_in(&self, op: Unary, ty: Ty, x: f32) -> f32 {
        if op == Unary::Fract {
            return self.sub(ty, x, floor(x));
        }
        let one = Format::of(ty).round(1.0, Rounding::Nearest);
        if self.exact() {
            return Format::of(ty).round(ideal(op, f64::from(x)), Rounding::Nearest);
        }
        match op {
            Unary::Sqrt if x == 0.0 => f32::NAN,
            Unary::Sqrt => self.div(ty, one, self.sided(Unary::InverseSqrt, ty, x, -1.0)),
            Unary::Tan => self.div(ty, self.bounded(Unary::Sin, ty, x), self.sided(Unary::Cos, ty, x, -1.0)),
            Unary::Sinh | Unary::Cosh => {
                let side = if op == Unary::Sinh { -1.0 } else { 1.0 };
                let (up, down) = (self.bounded(Unary::Exp, ty, x), self.sided(Unary::Exp, ty, -x, side));
                let sum = if op == Unary::Sinh { self.sub(ty, up, down) } else { self.add(ty, up, down) };
                self.mul(ty, sum, 0.5)
            }
            // Infinity by infinity, if it is done by the formula.
            Unary::Tanh if !self.bounded(Unary::Exp, ty, x.abs()).is_finite() => f32::NAN,
            Unary::Asinh | Unary::Acosh => {
                let square = self.mul(ty, x, x);
                let square =
                    if op == Unary::Asinh { self.add(ty, square, one) } else { self.sub(ty, square, one) };
                let root = self.built_in(Unary::Sqrt, ty, square);
                self.bounded(Unary::Log, ty, self.add(ty, x, root))
            }
            Unary::Atanh => {
                let ratio = self.div(ty, self.add(ty, one, x), self.sub(ty, one, x));
                self.mul(ty, self.bounded(Unary::Log, ty, ratio), 0.5)
            }
            Unary::Radians => self.mul(ty, x, self.constant(ty, PI / 180.0)),
            Unary::Degrees => self.mul(ty, x, self.constant(ty, 180.0 / PI)),
            _ => self.bounded(op, ty, x),
        }
    }

    fn constant(&self, ty: Ty, value: f64) -> f32 {
        Format::of(ty).round(value, Rounding::Nearest)
    }

    /// `x / y`. Of divisors beyond those that WGSL promises something for, the reciprocal is flushed, or
    /// overflows.
    pub(super) fn div(&self, ty: Ty, x: f32, y: f32) -> f32 {
        let exact = f64::from(x) / f64::from(y);
        if self.exact() || !exact.is_finite() || !y.is_finite() {
            return f32::from_bits(self.output(ty, Format::of(ty).round(exact, Rounding::Nearest)));
        }
        let range = divisors(ty);
        if f64::from(y.abs()) > *range.end() {
            return 0.0f32.copysign(x) * y.signum();
        }
        if f64::from(y.abs()) < *range.start() {
            return x * f32::INFINITY.copysign(y);
        }
        let share = self.share(tag_of(2, Binary::Div as u32), x, y);
        self.moved(ty, exact, Bound::Ulps(2.5).distance(Format::of(ty), exact), share)
    }

    /// `atan2`: WGSL promises nothing near `x = 0` and for `y` that is not normal.
    fn atan2(&self, ty: Ty, y: f32, x: f32) -> f32 {
        let ideal = libm::atan2(f64::from(y), f64::from(x));
        let share = self.share(tag_of(2, Binary::Atan2 as u32), y, x);
        let normal = f64::from(y.abs()) >= Format::of(ty).min_normal();
        if self.exact() || !(y.is_finite() && x.is_finite()) {
            return self.constant(ty, ideal);
        }
        if !normal || !divisors(ty).contains(&f64::from(x.abs())) {
            return self.constant(ty, share * FRAC_PI_2);
        }
        let bound = Bound::Ulps(if ty == Ty::F16 { 5.0 } else { 4096.0 });
        self.moved(ty, ideal, bound.distance(Format::of(ty), ideal), share)
    }

    fn pow(&self, ty: Ty, x: f32, y: f32) -> f32 {
        if x < 0.0 {
            return f32::NAN;
        }
        if self.exact() {
            return self.constant(ty, libm::pow(f64::from(x), f64::from(y)));
        }
        // log2(0) is infinite: an intermediate that WGSL lets be anything.
        if x == 0.0 {
            return f32::NAN;
        }
        let exponent = self.mul(ty, y, self.bounded(Unary::Log2, ty, x));
        self.bounded(Unary::Exp2, ty, exponent)
    }

    /// A built-in or operator of two numbers.
    pub(super) fn built_in2(&self, op: Binary, ty: Ty, a: f32, b: f32) -> f32 {
        match op {
            Binary::Add => self.add(ty, a, b),
            Binary::Sub => self.sub(ty, a, b),
            Binary::Mul => self.mul(ty, a, b),
            Binary::Div => self.div(ty, a, b),
            Binary::Rem => self.rem(ty, a, b),
            Binary::Pow => self.pow(ty, a, b),
            Binary::Atan2 => self.atan2(ty, a, b),
            _ => unreachable!("no {op:?} of floats passes validation"),
        }
    }

    /// A built-in of three numbers.
    pub(super) fn built_in3(&self, op: Ternary, ty: Ty, a: f32, b: f32, c: f32) -> f32 {
        match op {
            Ternary::Fma => self.fma(ty, a, b, c),
            Ternary::Mix => {
                let first = self.mul(ty, a, self.sub(ty, 1.0, c));
                self.product_sum(ty, b, c, first)
            }
            Ternary::Smoothstep => {
                let t = self.div(ty, self.sub(ty, c, a), self.sub(ty, b, a));
                let t = exact::clamp(t, 0.0, 1.0);
                let square = self.mul(ty, t, t);
                self.mul(ty, square, self.sub(ty, 3.0, self.mul(ty, 2.0, t)))
            }
            _ => unreachable!("no {op:?} of floats passes validation"),
        }
    }
}

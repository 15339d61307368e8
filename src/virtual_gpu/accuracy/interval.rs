//! Intervals of results, and the operations that WGSL's inherited accuracies are made of.

use std::f64::consts::PI;

use super::super::Rounding;
use super::super::math::{Bound, Format, divisors, ideal, odd, two_sum};
use super::super::program::{Ty, Unary};

/// All results from `low` to `high`; if they are infinite, anything, NaN included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The least result.
    pub low: f64,
    /// The greatest result.
    pub high: f64,
}

impl Interval {
    /// Nothing is promised.
    pub const ANYTHING: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// One number alone.
    pub const fn exactly(x: f64) -> Self {
        Self { low: x, high: x }
    }

    /// Whether anything is accepted.
    pub fn is_anything(self) -> bool {
        !(self.low.is_finite() && self.high.is_finite())
    }

    /// Whether a result is accepted. Zeros are the same.
    pub fn holds(self, x: f32) -> bool {
        self.is_anything() || (self.low <= f64::from(x) && f64::from(x) <= self.high)
    }

    /// The least interval with both.
    pub fn hull(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// The least interval with what `f` gives at both ends, for an `f` that has no extremum between them.
    pub fn ends(self, f: impl Fn(f64) -> Self) -> Self {
        if self.is_anything() { self } else { f(self.low).hull(f(self.high)) }
    }

    /// What `f`, which is exact, gives at both ends.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        self.ends(|x| Self::exactly(f(x)))
    }

    /// Whether it has more than one number.
    pub fn is_wide(self) -> bool {
        self.low != self.high
    }

    fn contains(self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }
}

/// Operations of one type, each with the error that WGSL allows it, and with operands and results that may
/// be flushed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evaluate(pub Ty);

impl Evaluate {
    fn format(self) -> Format {
        Format::of(self.0)
    }

    /// With zero, if it has a number that may be flushed.
    pub fn flushed(self, x: Interval) -> Interval {
        let least = self.format().min_normal();
        let positive = x.low < least && x.high > 0.0;
        let negative = x.high > -least && x.low < 0.0;
        if positive || negative { x.hull(Interval::exactly(0.0)) } else { x }
    }

    /// An operand. "Any inputs of operations listed may be flushed".
    pub fn operand(self, x: f32) -> Interval {
        if x.is_finite() { self.flushed(Interval::exactly(f64::from(x))) } else { Interval::ANYTHING }
    }

    /// Exact results as they are "correctly rounded": to either neighbour. Infinity as one of them makes
    /// it indeterminate, by the finite math assumption.
    pub fn rounded(self, x: Interval) -> Interval {
        let low = self.format().round(x.low, Rounding::Down);
        let high = self.format().round(x.high, Rounding::Up);
        if !(low.is_finite() && high.is_finite()) {
            return Interval::ANYTHING;
        }
        self.flushed(Interval { low: low.into(), high: high.into() })
    }

    /// A result within a bound of the ideal one, which f64 has but for its last bits. If the ideal one is
    /// the end of an interval (`inner`), a power of two that is as near as the bound, from which on the
    /// ULP is twice as much, may lie inside.
    pub fn within(self, ideal: f64, bound: Bound, inner: bool) -> Interval {
        let beside = match bound {
            Bound::Ulps(n) if inner => ideal * (1.0 + n * self.format().ulp(1.5)),
            _ => ideal,
        };
        let distance = bound.distance(self.format(), beside) + ideal.abs() * 1e-15;
        let (low, high) = (ideal - distance, ideal + distance);
        if !ideal.is_finite() || high > self.format().max() || low < -self.format().max() {
            return Interval::ANYTHING;
        }
        self.flushed(Interval { low, high })
    }

    fn corners(a: Interval, b: Interval, f: impl Fn(f64, f64) -> f64) -> Interval {
        let all = [f(a.low, b.low), f(a.low, b.high), f(a.high, b.low), f(a.high, b.high)];
        if a.is_anything() || b.is_anything() || all.iter().any(|x| x.is_nan()) {
            return Interval::ANYTHING;
        }
        let low = all.into_iter().fold(f64::INFINITY, f64::min);
        Interval { low, high: all.into_iter().fold(f64::NEG_INFINITY, f64::max) }
    }

    /// `a + b`.
    pub fn add(self, a: Interval, b: Interval) -> Interval {
        let sum = |a, b| {
            let (high, low) = two_sum(a, b);
            odd(high, low)
        };
        self.rounded(Self::corners(a, b, sum))
    }

    /// `a - b`.
    pub fn sub(self, a: Interval, b: Interval) -> Interval {
        self.add(a, Interval { low: -b.high, high: -b.low })
    }

    /// `a * b`.
    pub fn mul(self, a: Interval, b: Interval) -> Interval {
        self.rounded(Self::corners(a, b, |a, b| a * b))
    }

    /// `a / b`: 2.5 ULP, for divisors that are not too great nor too small.
    pub fn div(self, a: Interval, b: Interval) -> Interval {
        let range = divisors(self.0);
        let (least, most) = (b.low.abs().min(b.high.abs()), b.low.abs().max(b.high.abs()));
        if b.contains(0.0) || !range.contains(&least) || !range.contains(&most) {
            return Interval::ANYTHING;
        }
        let quotient = Self::corners(a, b, |a, b| a / b);
        quotient.ends(|x| self.within(x, Bound::Ulps(2.5), quotient.is_wide()))
    }

    /// A built-in whose accuracy is a number, and that is monotone or of one operand.
    pub fn bounded(self, op: Unary, x: Interval) -> Interval {
        let wide = x.is_wide();
        x.ends(|x| match Bound::of(op, self.0, x) {
            Some(bound) => self.within(ideal(op, x), bound, wide),
            None => Interval::ANYTHING,
        })
    }

    /// `1 / inverseSqrt(x)`.
    pub fn sqrt(self, x: Interval) -> Interval {
        let one = Interval::exactly(1.0);
        if x.low <= 0.0 { Interval::ANYTHING } else { self.div(one, self.bounded(Unary::InverseSqrt, x)) }
    }

    /// `atan2(y, x)`: 4096 or 5 ULP, where `|x|` is neither too great nor too small and `y` is normal.
    pub fn atan2(self, y: Interval, x: Interval) -> Interval {
        let range = divisors(self.0);
        let least = self.format().min_normal();
        let normal = y.low >= least || y.high <= -least;
        let usual = |x: f64| range.contains(&x.abs());
        if !normal || x.is_anything() || x.contains(0.0) || !usual(x.low) || !usual(x.high) {
            return Interval::ANYTHING;
        }
        let ulps = Bound::Ulps(if self.0 == Ty::F16 { 5.0 } else { 4096.0 });
        let angle = Self::corners(y, x, libm::atan2);
        angle.ends(|x| self.within(x, ulps, angle.is_wide()))
    }

    /// A literal, which is converted to one of its neighbours.
    pub fn literal(self, x: f64) -> Interval {
        self.rounded(Interval::exactly(x))
    }

    /// The literal that `radians` or `degrees` multiplies by.
    pub fn turn(self, degrees: bool) -> Interval {
        self.literal(if degrees { 180.0 / PI } else { PI / 180.0 })
    }
}

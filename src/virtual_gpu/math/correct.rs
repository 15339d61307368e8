//! Operations on one lane that WGSL wants correctly rounded, in either type: what inherited accuracy is
//! made of. Operands and results are flushed as a personality does.

use super::super::Rounding;
use super::super::program::{Binary, Ternary, Ty};
use super::format::{odd, pow2, two_sum};
use super::lanes::{hash, trunc};
use super::{Format, Numbers, tag_of};

impl Numbers {
    /// To which neighbour an operation rounds.
    pub(super) fn correct(&self, ty: Ty, tag: u32, a: f32, b: f32) -> Rounding {
        if !self.either {
            return if ty == Ty::F16 { self.f16 } else { Rounding::Nearest };
        }
        let up = hash(self.seed ^ tag, a.to_bits(), b.to_bits()) & 1 == 1;
        if up { Rounding::Up } else { Rounding::Down }
    }

    /// The exact result `high + low`, rounded and flushed.
    fn settle(&self, ty: Ty, op: Binary, [a, b]: [f32; 2], (high, low): (f64, f64)) -> f32 {
        let rounding = self.correct(ty, tag_of(2, op as u32), a, b);
        f32::from_bits(self.output(ty, Format::of(ty).round(odd(high, low), rounding)))
    }

    pub(super) fn add(&self, ty: Ty, a: f32, b: f32) -> f32 {
        self.settle(ty, Binary::Add, [a, b], two_sum(f64::from(a), f64::from(b)))
    }

    pub(super) fn sub(&self, ty: Ty, a: f32, b: f32) -> f32 {
        self.settle(ty, Binary::Sub, [a, b], two_sum(f64::from(a), -f64::from(b)))
    }

    pub(super) fn mul(&self, ty: Ty, a: f32, b: f32) -> f32 {
        self.settle(ty, Binary::Mul, [a, b], (f64::from(a) * f64::from(b), 0.0))
    }

    pub(super) fn fma(&self, ty: Ty, a: f32, b: f32, c: f32) -> f32 {
        if !self.fused {
            return self.add(ty, self.mul(ty, a, b), c);
        }
        let (high, low) = two_sum(f64::from(a) * f64::from(b), f64::from(c));
        let tag = tag_of(3, Ternary::Fma as u32) ^ c.to_bits();
        let rounding = self.correct(ty, tag, a, b);
        f32::from_bits(self.output(ty, Format::of(ty).round(odd(high, low), rounding)))
    }

    /// `a * b + c` where it is a sum of products: fused where compilers may, and do.
    pub(super) fn product_sum(&self, ty: Ty, a: f32, b: f32, c: f32) -> f32 {
        if self.contracted { self.fma(ty, a, b, c) } else { self.add(ty, self.mul(ty, a, b), c) }
    }

    /// `ldexp`. WGSL: the result may be zero for exponents that no normal number has, and is anything
    /// above those that infinity has.
    pub(super) fn ldexp(&self, ty: Ty, x: f32, e: i32) -> f32 {
        let bias = Format::of(ty).bias();
        if !self.exact() && e > bias + 1 {
            return f32::NAN;
        }
        if !self.exact() && e <= -bias {
            return 0.0f32.copysign(x);
        }
        let scaled = f64::from(x) * pow2(e.clamp(-600, 600));
        let rounding = self.correct(ty, tag_of(2, Binary::Ldexp as u32), x, e as f32);
        Format::of(ty).round(scaled, rounding)
    }

    /// `x - y * trunc(x / y)`, from which WGSL lets `%` inherit its accuracy.
    pub(super) fn rem(&self, ty: Ty, x: f32, y: f32) -> f32 {
        if self.exact() {
            return libm::fmodf(x, y);
        }
        let whole = trunc(self.div(ty, x, y));
        self.sub(ty, x, self.mul(ty, y, whole))
    }
}

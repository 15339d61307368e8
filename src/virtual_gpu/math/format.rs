//! The two floating-point types: which numbers they have, and which is next to an exact result.

use super::super::{Rounding, program::Ty};

/// A floating-point type of WGSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::virtual_gpu) struct Format {
    /// Digits of the significand, the first included.
    digits: i32,
    /// Exponent of the least normal number.
    least: i32,
    /// Exponent of the greatest number.
    greatest: i32,
}

/// A power of two; `e` in the range of normal f64.
pub(in crate::virtual_gpu) fn pow2(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}

/// The exponent of a normal f64; less than any that matters for others.
fn exponent(x: f64) -> i32 {
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

/// `high + low`, rounded to f64 such that the last bit is odd where the sum is not exact: rounding that to a
/// type of 51 digits or less, in any direction, is rounding the sum (Boldo and Melquiond 2008).
/// `low` is at most half a unit of `high`.
pub(in crate::virtual_gpu) fn odd(high: f64, low: f64) -> f64 {
    let bits = high.to_bits();
    if low == 0.0 || bits & 1 == 1 || !high.is_finite() {
        return high;
    }
    let away = (low > 0.0) == (high > 0.0);
    f64::from_bits(if away { bits + 1 } else { bits - 1 })
}

/// `a + b` and what rounding it left over (Knuth's two-sum).
pub(in crate::virtual_gpu) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_in = sum - a;
    (sum, (a - (sum - b_in)) + (b - b_in))
}

impl Format {
    /// `f32`.
    pub const F32: Self = Self { digits: 24, least: -126, greatest: 127 };
    /// `f16`.
    pub const F16: Self = Self { digits: 11, least: -14, greatest: 15 };

    /// The format of a type; all but `f16` are `f32` here.
    pub const fn of(ty: Ty) -> Self {
        match ty {
            Ty::F16 => Self::F16,
            _ => Self::F32,
        }
    }

    /// The exponent's bias.
    pub const fn bias(self) -> i32 {
        self.greatest
    }

    /// The greatest number.
    pub fn max(self) -> f64 {
        pow2(self.greatest + 1) - pow2(self.greatest + 1 - self.digits)
    }

    /// The least normal number.
    pub fn min_normal(self) -> f64 {
        pow2(self.least)
    }

    /// From one number to the next, where `x` lies.
    fn spacing(self, x: f64) -> f64 {
        pow2(exponent(x).clamp(self.least, self.greatest) - self.digits + 1)
    }

    /// WGSL's ULP of `x`: the least distance of two numbers that have it between them, or are it.
    pub fn ulp(self, x: f64) -> f64 {
        let spacing = self.spacing(x);
        let power = x.to_bits() & ((1 << 52) - 1) == 0;
        if power && x.abs() > self.min_normal() && x.abs() < self.max() { spacing / 2.0 } else { spacing }
    }

    /// Rounds to a number of the type, or to infinity where WGSL says so: beyond the greatest number, a
    /// rounding towards 0 stays finite below the next power of two.
    pub fn round(self, x: f64, rounding: Rounding) -> f32 {
        let near = x as f32;
        if x == 0.0 || !x.is_finite() {
            return near;
        }
        // The same as below, but quicker.
        if self == Self::F32 && x.abs() < pow2(128) {
            return match rounding {
                Rounding::Up if f64::from(near) < x => near.next_up(),
                Rounding::Down if f64::from(near) > x => near.next_down(),
                _ => near,
            };
        }
        let spacing = self.spacing(x);
        let units = x / spacing;
        let units = match rounding {
            Rounding::Nearest => units.round_ties_even(),
            Rounding::Up => units.ceil(),
            Rounding::Down => units.floor(),
        };
        let rounded = units * spacing;
        let limit = pow2(self.greatest + 1);
        if x.abs() < limit && rounded.abs() < limit {
            rounded as f32
        } else {
            f32::INFINITY.copysign(x as f32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_a_neighbour() {
        let f = Format::F16;
        assert_eq!(f.max(), 65504.0);
        assert_eq!(f.round(65519.0, Rounding::Nearest), 65504.0);
        assert_eq!(f.round(65520.0, Rounding::Nearest), f32::INFINITY);
        assert_eq!(f.round(65519.0, Rounding::Up), f32::INFINITY);
        assert_eq!(f.round(-65535.0, Rounding::Up), -65504.0);
        assert_eq!(f.round(65535.9, Rounding::Down), 65504.0);
        assert_eq!(f.round(65536.0, Rounding::Down), f32::INFINITY);
        assert_eq!(f.round(odd(1.0, 1e-30), Rounding::Up), 1.0 + 1.0 / 1024.0);
        assert_eq!(f.round(odd(1.0, -1e-30), Rounding::Down), 1.0 - 1.0 / 2048.0);
        assert_eq!(f.round(1e-9, Rounding::Up), pow2(-24) as f32);
        assert_eq!(f.round(-1e-9, Rounding::Up).to_bits(), 0x8000_0000);
        assert_eq!(Format::F32.max(), f64::from(f32::MAX));
        assert_eq!(Format::F32.ulp(1.0), pow2(-24));
        assert_eq!(Format::F32.ulp(1.5), pow2(-23));
        assert_eq!(Format::F32.ulp(0.0), pow2(-149));
    }

    #[test]
    fn f32_is_rounded_as_f16_is() {
        // A format that is f32, but takes the general way.
        let general = Format { least: -127, ..Format::F32 };
        let mut rng = crate::rng::Rng::new(1);
        for _ in 0..20_000 {
            let bits = rng.next_u64();
            let x = f64::from_bits(bits & !(0x7ff << 52) | ((1023 - 120 + rng.below(249)) << 52));
            assert_eq!(Format::F32.round(x, Rounding::Nearest), x as f32, "{x:e}");
            for rounding in Rounding::ALL {
                assert_eq!(
                    Format::F32.round(x, *rounding),
                    general.round(x, *rounding),
                    "{x:e} {rounding:?}"
                );
            }
        }
    }
}

//! The bytes that the host makes, and which others are as right.

use super::{DIGITS_END, How, how};
use crate::dtype::DType;
use crate::formats::{self, Format};
use crate::numerics::{Approx, EITHER_NEIGHBOUR, U32};
use crate::op::RefCall;
use crate::ops::for_each_row;

/// What an operation that is rounded may be off, relatively; and a quotient, of 2.5 ulp.
const ONE: f64 = EITHER_NEIGHBOUR * U32;
const QUOTIENT: f64 = 2.5 * ONE;
/// Below this and above its inverse no quotient is promised anything.
const LEAST: f64 = 1.0 / (1u128 << 124) as f64;

/// A block of x, with what is known of its scale.
pub(crate) struct Block<'a> {
    x: &'a [f64],
    error: &'a [f64],
    how: How,
    /// The code of 0, or the last one.
    per: f64,
    /// The scale, and how far off it may be, relatively.
    pub scale: f64,
    uncertain: f64,
    /// The least element, and how far off it may be.
    least: (f64, f64),
}

// A code is a whole number near r, the quotient of x and the scale: 2.5 ulp for the scale, where it is a
// quotient itself, as many for its inverse, one for the product, and one for each sum. What is as near to the
// middle of two codes as that, and as x itself is uncertain, may have either; nothing else may. Scales of e2m1
// are powers of two, by which products are exact. Bytes are judged as numbers, so that beside a code that may
// move another in its byte is not seen: tests/blocks.rs takes them apart.
pub(super) fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let dtype = DType::from_ggml_type(c.attr("type") as u32).unwrap_or(DType::Q8_0);
    let (elements, size) = (dtype.block(), dtype.block_bytes());
    let x = c.input(0);
    let count = x.value.len() / elements;
    let mut out = Approx::exact(&c.shape, vec![0.0; count * size]);
    for_each_row(size, &mut out.value, &mut out.error, count * elements * 8, |i, bytes, errors| {
        let at = i * elements..(i + 1) * elements;
        let made = made(dtype, &x.value[at.clone()]);
        bytes.iter_mut().zip(&made).for_each(|(to, byte)| *to = f64::from(*byte));
        match Block::of(dtype, &x.value[at.clone()], &x.error[at]) {
            Some(block) => block.errors(dtype, &made, errors),
            None => errors.fill(255.0),
        }
    });
    vec![out]
}

/// One block, as the host makes it.
fn made(dtype: DType, x: &[f64]) -> Vec<u8> {
    let values: Vec<f32> = x.iter().map(|v| *v as f32).collect();
    let tensor = crate::Tensor::from_f32(&[1, x.len()], &values);
    let blocks = tensor.and_then(|t| formats::quantize(dtype, &t));
    blocks.map_or_else(|_| vec![0; dtype.block_bytes()], |t| t.to_bytes())
}

impl<'a> Block<'a> {
    /// `None` if nothing can be said of it.
    pub fn of(dtype: DType, x: &'a [f64], error: &'a [f64]) -> Option<Self> {
        let (how, per) = how(dtype);
        let per = f64::from(per);
        let pairs = || x.iter().zip(error);
        let farthest = x.iter().fold(0f64, |m, v| if v.abs() > m.abs() { *v } else { m });
        let high = pairs().fold(0.0, |m, (v, e)| f64::max(m, v.abs() + e));
        let low = pairs().fold(0.0, |m, (v, e)| f64::max(m, v.abs() - e));
        let (mut scale, mut off) = (farthest.abs() / per, (high - low) / per);
        let mut least = (0.0, 0.0);
        match how {
            How::AroundZero => {
                // An uncertain element of the other sign might be the farthest.
                if off > 0.0 && pairs().any(|(v, e)| v * farthest <= 0.0 && v.abs() + e >= low) {
                    return None;
                }
                scale = -farthest / per;
            }
            How::FromLeast => {
                let ends = |sign: f64| {
                    let most = x.iter().fold(f64::NEG_INFINITY, |m, v| m.max(sign * v));
                    let high = pairs().fold(f64::NEG_INFINITY, |m, (v, e)| m.max(sign * v + e));
                    let low = pairs().fold(f64::NEG_INFINITY, |m, (v, e)| m.max(sign * v - e));
                    (sign * most, (high - most).max(most - low))
                };
                let largest = ends(1.0);
                least = ends(-1.0);
                scale = (largest.0 - least.0) / per;
                off = (largest.1 + least.1) / per;
            }
            // The power of two might be another.
            How::E2m1 if high.log2().floor() != low.max(LEAST).log2().floor() && off > 0.0 => return None,
            _ => {}
        }
        let is_zero = scale == 0.0 && off == 0.0;
        let normal = LEAST..1.0 / LEAST;
        if how != How::E2m1 && !is_zero && !(normal.contains(&(scale.abs() - off)) && normal.contains(&high))
        {
            return None;
        }
        let uncertain = if off == 0.0 { 0.0 } else { off / (scale.abs() - off) };
        Some(Self { x, error, how, per, scale, uncertain, least })
    }

    /// The scale's own relative error, before it is rounded to f16.
    pub fn of_scale(&self) -> f64 {
        self.uncertain
            + match self.how {
                How::Nearest => QUOTIENT,
                How::FromLeast => QUOTIENT + ONE,
                How::AroundZero | How::Ternary | How::E2m1 => 0.0,
            }
    }

    /// The codes that an element may have, besides the one that the host gives.
    pub fn codes(&self, i: usize, block: &[u8]) -> Vec<i32> {
        // A device may flush what is denormal.
        let x = self.x[i];
        let e = if x.abs() < DType::F32.min_normal() { self.error[i].max(x.abs()) } else { self.error[i] };
        if self.how == How::E2m1 {
            let power = 2f64.powi(i32::from(block[0]) - 128);
            let code = |v: f64| {
                let middles = [0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0];
                let size = middles.iter().filter(|t| v.abs() / power > **t).count() as i32;
                if v < 0.0 && size > 0 { -size } else { size }
            };
            return (code(x - e)..=code(x + e)).map(|code| if code < 0 { 8 - code } else { code }).collect();
        }
        if self.scale == 0.0 {
            return Vec::new();
        }
        let r = (x - self.least.0) / self.scale;
        let relative = self.of_scale() + QUOTIENT + 2.0 * ONE;
        let near = r.abs() * relative + (e + self.least.1) / self.scale.abs() * (1.0 + relative);
        let moved = near + ONE * (r.abs() + self.per + 1.0);
        let ends =
            |near: f64, code: &dyn Fn(f64) -> f64| (code(r - near) as i32..=code(r + near) as i32).collect();
        match self.how {
            How::Nearest => ends(near, &f64::round),
            How::Ternary => ends(near, &|r| r.round().clamp(-1.0, 1.0) + 1.0),
            How::AroundZero => {
                ends(moved, &|r| (r + self.per + 0.5).floor().clamp(0.0, 2.0 * self.per - 1.0))
            }
            How::FromLeast | How::E2m1 => ends(moved, &|r| (r + 0.5).floor().clamp(0.0, self.per)),
        }
    }

    /// How far bytes may be from those that the host makes.
    fn errors(&self, dtype: DType, made: &[u8], errors: &mut [f64]) {
        let off = self.scale.abs() * self.of_scale();
        let Some(packed) = formats::of(dtype).and_then(Format::packed) else {
            half_errors(DIGITS_END, made, (self.scale, off), errors);
            for (i, (byte, digit)) in formats::ternary_digits().enumerate().take(self.x.len()) {
                if self.codes(i, made).len() > 1 {
                    errors[byte] += 2.0 * 3f64.powi(4 - digit as i32) * 256.0 / 243.0 + 1.0;
                }
            }
            return;
        };
        for (at, part) in packed.halves.iter().zip([(self.scale, off), self.least]) {
            half_errors(*at, made, part, errors);
        }
        // Of zeros of both signs, and what may be flushed to one, either may be the least.
        let is_zero = |v: f64| v.abs() < DType::F32.min_normal();
        if is_zero(self.least.0) && self.x.iter().any(|v| is_zero(*v) && v.is_sign_negative()) {
            packed.halves.iter().skip(1).for_each(|at| errors[at + 1] = 128.0);
        }
        for i in 0..self.x.len() {
            let code = packed.code(made, i);
            let codes = self.codes(i, made);
            let mut from = 0;
            for plane in packed.planes {
                let mask = 0xff >> (8 - plane.bits);
                let bits = |code: i32| i32::from(code as u8 >> from & mask);
                let apart = |other| (bits(other) - bits(i32::from(code))).abs();
                let most = codes.iter().map(|code| apart(*code)).max().unwrap_or(0);
                let (byte, shift) = plane.place(i);
                errors[byte] += f64::from(most << shift);
                from += plane.bits;
            }
        }
    }
}

/// How far the bytes of an f16 may be from those of the host, of a number that is so far off.
fn half_errors(at: usize, made: &[u8], (v, off): (f64, f64), errors: &mut [f64]) {
    for v in [v - off, v + off].into_iter().filter(|_| off > 0.0) {
        let bytes = half::f16::from_f64(v).to_le_bytes();
        let apart = |i: usize| (f64::from(bytes[i]) - f64::from(made[at + i])).abs();
        errors[at + 1] = errors[at + 1].max(apart(1));
        errors[at] = errors[at].max(if apart(1) > 0.0 { 255.0 } else { apart(0) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_at_the_middle_of_two_codes_may_have_either() {
        let mut x = [1.0; 32];
        (x[0], x[5], x[6]) = (-8.0, 1.5, 1.4999);
        let block = Block::of(DType::Q4_0, &x, &[0.0; 32]).unwrap();
        assert_eq!((block.scale, block.codes(0, &[]), block.codes(1, &[])), (1.0, vec![0], vec![9]));
        assert_eq!((block.codes(5, &[]), block.codes(6, &[])), (vec![9, 10], vec![9]));
        let made = made(DType::Q4_0, &x);
        let mut errors = [0.0; 18];
        block.errors(DType::Q4_0, &made, &mut errors);
        // The middle of two is in the low nibble of its byte, and neither that of another nor the scale moves.
        assert_eq!(errors.iter().sum::<f64>(), errors[2 + 5]);
        assert!(errors[7] == 1.0, "{errors:?}");
    }
}

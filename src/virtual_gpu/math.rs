//! What operators and built-ins give, over rows of lanes, with every freedom of a personality taken.
//!
//! Semantics and accuracies are those of WGSL's sections on expressions, on built-in functions and on
//! floating-point evaluation. All is a pure function of seed, operation and the operands' bits. Outside
//! an operation's domain, and beyond the greatest number, results are NaN or infinite: whoever runs this
//! makes a finding of that. Slices have one length; a destination is none of the operands.

mod correct;
mod exact;
mod format;
mod half;
mod inexact;
mod int;
mod lanes;
mod pack;
mod sums;
#[cfg(test)]
pub(super) mod tests;

use super::program::{Binary, Ternary, Ty, Unary};
use super::{Denormals, Fma, Inexact, Neighbour, Personality, Rounding, Sums};
pub(super) use format::{Format, odd, two_sum};
pub(super) use inexact::{Bound, divisors, ideal};
use lanes::{compare, floats1, floats2, floats3, flush, fused, hash, mask, neighbour, words1, words2};
pub(super) use pack::results;

/// The arithmetic of a personality.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    seed: u32,
    /// Denormals are zero.
    flush: bool,
    /// `+`, `-`, `*` and conversions give either neighbour.
    either: bool,
    /// `fma` rounds once.
    fused: bool,
    /// Sums of products round once for each term.
    contracted: bool,
    f16: Rounding,
    inexact: Inexact,
    sums: Sums,
}

/// Calls a loop with what is flushed, as a constant: nothing, f32 or f16.
macro_rules! flushing {
    ($numbers:expr, $ty:expr, $loop:ident($($arg:expr),*)) => {
        match ($numbers.flush, $ty) {
            (false, _) => $loop::<0>($($arg),*),
            (true, Ty::F16) => $loop::<0x3880_0000>($($arg),*),
            (true, _) => $loop::<0x0080_0000>($($arg),*),
        }
    };
}

/// The sign of a number that may be too small for an f32; 0 for 0 and NaN.
#[inline(always)]
fn sign(x: f64) -> f32 {
    f32::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}

/// What tells operations apart when something is drawn.
fn tag_of(arity: u32, op: u32) -> u32 {
    (arity << 16 | op).wrapping_mul(0x9e37_79b9)
}

impl Numbers {
    /// The arithmetic of a personality.
    pub fn new(personality: &Personality) -> Self {
        Self {
            seed: (personality.seed ^ (personality.seed >> 32)) as u32,
            flush: personality.denormals == Denormals::Flushed,
            either: personality.arithmetic == Neighbour::Either,
            fused: personality.fma != Fma::Split,
            contracted: personality.fma == Fma::Contracted,
            f16: personality.f16,
            inexact: personality.inexact,
            sums: personality.sums,
        }
    }

    /// An operation of one operand of type `ty`.
    pub fn unary(&self, op: Unary, ty: Ty, a: &[u32], dst: &mut [u32]) {
        match ty {
            Ty::Bool => words1(a, dst, |a| !a),
            Ty::I32 | Ty::U32 => int::unary(op, ty == Ty::I32, a, dst),
            Ty::F32 | Ty::F16 => self.float_unary(op, ty, a, dst),
        }
    }

    fn float_unary(&self, op: Unary, ty: Ty, a: &[u32], dst: &mut [u32]) {
        match op {
            Unary::Neg => flushing!(self, ty, floats1(a, dst, |x| -x)),
            Unary::Abs => flushing!(self, ty, floats1(a, dst, f32::abs)),
            Unary::Sign => flushing!(self, ty, floats1(a, dst, exact::sign)),
            Unary::Saturate => flushing!(self, ty, floats1(a, dst, |x| exact::clamp(x, 0.0, 1.0))),
            Unary::Ceil => flushing!(self, ty, floats1(a, dst, lanes::ceil)),
            Unary::Floor => flushing!(self, ty, floats1(a, dst, lanes::floor)),
            Unary::Round => flushing!(self, ty, floats1(a, dst, lanes::round)),
            Unary::Trunc => flushing!(self, ty, floats1(a, dst, lanes::trunc)),
            Unary::FrexpFraction => flushing!(self, ty, floats1(a, dst, |x| libm::frexpf(x).0)),
            Unary::FrexpExponent => {
                let exponent = |x| libm::frexpf(f32::from_bits(self.input(ty, x))).1 as u32;
                words1(a, dst, exponent);
            }
            Unary::QuantizeToF16 => self.quantize(a, dst),
            Unary::Sqrt if self.plain(ty) => flushing!(self, ty, floats1(a, dst, f32::sqrt)),
            Unary::InverseSqrt if self.plain(ty) => {
                flushing!(self, ty, floats1(a, dst, |x| (1.0 / f64::from(x).sqrt()) as f32));
            }
            _ => self.each1(ty, a, dst, |x| self.built_in(op, ty, x)),
        }
    }

    /// An operation of two operands; `ty` is the first one's type.
    pub fn binary(&self, op: Binary, ty: Ty, a: &[u32], b: &[u32], dst: &mut [u32]) {
        match ty {
            Ty::Bool | Ty::I32 | Ty::U32 => int::binary(op, ty == Ty::I32, a, b, dst),
            Ty::F32 | Ty::F16 => self.float_binary(op, ty, a, b, dst),
        }
    }

    fn float_binary(&self, op: Binary, ty: Ty, a: &[u32], b: &[u32], dst: &mut [u32]) {
        match op {
            Binary::Eq => flushing!(self, ty, compare(a, b, dst, |a, b| a == b)),
            Binary::Ne => flushing!(self, ty, compare(a, b, dst, |a, b| a != b)),
            Binary::Lt => flushing!(self, ty, compare(a, b, dst, |a, b| a < b)),
            Binary::Le => flushing!(self, ty, compare(a, b, dst, |a, b| a <= b)),
            Binary::Gt => flushing!(self, ty, compare(a, b, dst, |a, b| a > b)),
            Binary::Ge => flushing!(self, ty, compare(a, b, dst, |a, b| a >= b)),
            Binary::Min => flushing!(self, ty, floats2(a, b, dst, exact::min)),
            Binary::Max => flushing!(self, ty, floats2(a, b, dst, exact::max)),
            Binary::Step => {
                let step = |edge: f32, x: f32| f32::from(u8::from(edge <= x));
                flushing!(self, ty, floats2(a, b, dst, step));
            }
            Binary::Add | Binary::Sub | Binary::Mul if ty == Ty::F32 => {
                if self.either {
                    self.either_neighbour(op, a, b, dst);
                } else {
                    self.nearest(op, a, b, dst);
                }
            }
            Binary::Div if self.plain(ty) => flushing!(self, ty, floats2(a, b, dst, |a, b| a / b)),
            Binary::Ldexp => {
                words2(a, b, dst, |a, e| {
                    let x = f32::from_bits(self.input(ty, a));
                    self.output(ty, self.ldexp(ty, x, e as i32))
                });
            }
            _ => self.each2(ty, a, b, dst, |a, b| self.built_in2(op, ty, a, b)),
        }
    }

    fn nearest(&self, op: Binary, a: &[u32], b: &[u32], dst: &mut [u32]) {
        match op {
            Binary::Add => flushing!(self, Ty::F32, floats2(a, b, dst, |a, b| a + b)),
            Binary::Sub => flushing!(self, Ty::F32, floats2(a, b, dst, |a, b| a - b)),
            _ => flushing!(self, Ty::F32, floats2(a, b, dst, |a, b| a * b)),
        }
    }

    fn either_neighbour(&self, op: Binary, a: &[u32], b: &[u32], dst: &mut [u32]) {
        let seed = self.seed_of(2, op as u32);
        let up = |a: f32, b: f32| hash(seed, a.to_bits(), b.to_bits()) & 1 == 1;
        let add = |a: f32, b: f32| {
            let sum = a + b;
            let b_in = sum - a;
            (sum, (a - (sum - b_in)) + (b - b_in))
        };
        match op {
            Binary::Add => flushing!(
                self,
                Ty::F32,
                floats2(a, b, dst, |a, b| {
                    let (sum, left) = add(a, b);
                    neighbour(sum, left, up(a, b))
                })
            ),
            Binary::Sub => flushing!(
                self,
                Ty::F32,
                floats2(a, b, dst, |a, b| {
                    let (sum, left) = add(a, -b);
                    neighbour(sum, left, up(a, b))
                })
            ),
            _ => flushing!(
                self,
                Ty::F32,
                floats2(a, b, dst, |a, b| {
                    // Exact in f64; what is left may be too small for an f32, its sign is what counts.
                    let product = f64::from(a) * f64::from(b);
                    let near = product as f32;
                    let left = product - f64::from(near);
                    neighbour(near, sign(left), up(a, b))
                })
            ),
        }
    }

    /// An operation of three operands; `ty` is the first one's type.
    pub fn ternary(&self, op: Ternary, ty: Ty, a: &[u32], b: &[u32], c: &[u32], dst: &mut [u32]) {
        let args = [a, b, c];
        if !matches!(ty, Ty::F32 | Ty::F16) {
            return int::ternary(op, ty == Ty::I32, args, dst);
        }
        match op {
            Ternary::Clamp => flushing!(self, ty, floats3(args, dst, exact::clamp)),
            Ternary::Fma if ty == Ty::F32 && !self.fused => self.split(args, dst),
            Ternary::Fma if ty == Ty::F32 && self.either => {
                let seed = self.seed_of(3, op as u32);
                let either = |a: f32, b: f32, c: f32| {
                    let up = hash(seed ^ c.to_bits(), a.to_bits(), b.to_bits()) & 1 == 1;
                    let (sum, rest) = two_sum(f64::from(a) * f64::from(b), f64::from(c));
                    // One of the neighbours of the exact sum, if not always the nearest.
                    let near = sum as f32;
                    let left = sum - f64::from(near);
                    neighbour(near, sign(if left == 0.0 { rest } else { left }), up)
                };
                flushing!(self, ty, floats3(args, dst, either));
            }
            Ternary::Fma if ty == Ty::F32 => flushing!(self, ty, fused(args, dst)),
            _ => lanes::words3(args, dst, |a, b, c| {
                let [a, b, c] = [a, b, c].map(|x| f32::from_bits(self.input(ty, x)));
                self.output(ty, self.built_in3(op, ty, a, b, c))
            }),
        }
    }

    /// A value conversion.
    pub fn convert(&self, from: Ty, to: Ty, a: &[u32], dst: &mut [u32]) {
        let float = matches!(from, Ty::F32 | Ty::F16);
        match to {
            Ty::Bool if float => words1(a, dst, |a| mask(f32::from_bits(a) != 0.0)),
            Ty::Bool => words1(a, dst, |a| mask(a != 0)),
            Ty::I32 | Ty::U32 if from == Ty::Bool => words1(a, dst, |a| a & 1),
            // The greatest i32 and u32 that f32 has, and no more; 65504 is the greatest f16.
            Ty::I32 if float => {
                let top = if from == Ty::F16 { 65504.0 } else { 2_147_483_520.0 };
                words1(a, dst, |a| exact::at_most(f32::from_bits(a), top) as i32 as u32);
            }
            Ty::U32 if float => {
                let top = if from == Ty::F16 { 65504.0 } else { 4_294_967_040.0 };
                words1(a, dst, |a| exact::at_most(f32::from_bits(a), top) as u32);
            }
            Ty::I32 | Ty::U32 => dst.copy_from_slice(a),
            Ty::F32 | Ty::F16 if from == Ty::Bool => words1(a, dst, |a| a & 1.0f32.to_bits()),
            Ty::F16 if from == Ty::F32 => match self.f16 {
                Rounding::Nearest => words1(a, dst, |a| half::quantize::<0>(a, Rounding::Nearest)),
                Rounding::Up => words1(a, dst, |a| half::quantize::<0>(a, Rounding::Up)),
                Rounding::Down => words1(a, dst, |a| half::quantize::<0>(a, Rounding::Down)),
            },
            Ty::F32 | Ty::F16 if float => dst.copy_from_slice(a),
            Ty::F32 | Ty::F16 => self.whole(from == Ty::I32, to, a, dst),
        }
    }

    fn whole(&self, signed: bool, to: Ty, a: &[u32], dst: &mut [u32]) {
        let exact = |a: u32| if signed { f64::from(a as i32) } else { f64::from(a) };
        if to == Ty::F32 && !self.either {
            return words1(a, dst, |a| (exact(a) as f32).to_bits());
        }
        let tag = tag_of(4, u32::from(signed));
        words1(a, dst, |a| {
            let rounding = self.correct(to, tag, f32::from_bits(a), 0.0);
            Format::of(to).round(exact(a), rounding).to_bits()
        });
    }

    /// An f16 as it lies in memory, as a register has it; exact.
    pub fn load_f16(bits: u32) -> u32 {
        half::widen(bits & 0xffff)
    }

    /// An f16 of a register, as it lies in memory; exact.
    pub fn store_f16(word: u32) -> u32 {
        half::narrow::<0>(word, Rounding::Nearest)
    }

    fn quantize(&self, a: &[u32], dst: &mut [u32]) {
        match self.f16 {
            Rounding::Nearest => self.quantize_by(Rounding::Nearest, a, dst),
            Rounding::Up => self.quantize_by(Rounding::Up, a, dst),
            Rounding::Down => self.quantize_by(Rounding::Down, a, dst),
        }
    }

    #[inline(always)]
    fn quantize_by(&self, rounding: Rounding, a: &[u32], dst: &mut [u32]) {
        if self.flush {
            words1(a, dst, |a| half::quantize::<0x0080_0000>(a, rounding));
        } else {
            words1(a, dst, |a| half::quantize::<0>(a, rounding));
        }
    }

    /// Whether `f32` division and roots are the nearest numbers.
    fn plain(&self, ty: Ty) -> bool {
        self.inexact == Inexact::Exact && ty == Ty::F32
    }

    fn seed_of(&self, arity: u32, op: u32) -> u32 {
        self.seed ^ tag_of(arity, op)
    }

    /// An operand, flushed if that is done.
    fn input(&self, ty: Ty, word: u32) -> u32 {
        match (self.flush, ty) {
            (false, _) => word,
            (true, Ty::F16) => flush::<0x3880_0000>(word),
            (true, _) => flush::<0x0080_0000>(word),
        }
    }

    /// A result, flushed if that is done.
    fn output(&self, ty: Ty, x: f32) -> u32 {
        self.input(ty, x.to_bits())
    }

    fn each1(&self, ty: Ty, a: &[u32], dst: &mut [u32], f: impl Fn(f32) -> f32) {
        words1(a, dst, |a| self.output(ty, f(f32::from_bits(self.input(ty, a)))));
    }

    fn each2(&self, ty: Ty, a: &[u32], b: &[u32], dst: &mut [u32], f: impl Fn(f32, f32) -> f32) {
        words2(a, b, dst, |a, b| {
            let (a, b) = (f32::from_bits(self.input(ty, a)), f32::from_bits(self.input(ty, b)));
            self.output(ty, f(a, b))
        });
    }
}

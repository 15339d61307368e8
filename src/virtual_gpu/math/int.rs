//! Whole numbers and bools. What WGSL's validation lets through is all there is.

use super::super::program::{Binary, Ternary, Unary};
use super::lanes::{mask, words1, words2, words3};

/// An operation of one operand.
pub(super) fn unary(op: Unary, signed: bool, a: &[u32], dst: &mut [u32]) {
    match op {
        Unary::Neg => words1(a, dst, u32::wrapping_neg),
        Unary::Not => words1(a, dst, |a| !a),
        Unary::Abs if signed => words1(a, dst, |a| (a as i32).wrapping_abs() as u32),
        Unary::Abs => dst.copy_from_slice(a),
        Unary::Sign => words1(a, dst, |a| (a as i32).signum() as u32),
        Unary::CountTrailingZeros => words1(a, dst, u32::trailing_zeros),
        Unary::CountLeadingZeros => words1(a, dst, u32::leading_zeros),
        Unary::CountOneBits => words1(a, dst, u32::count_ones),
        Unary::ReverseBits => words1(a, dst, u32::reverse_bits),
        Unary::FirstTrailingBit => {
            words1(a, dst, |a| if a == 0 { u32::MAX } else { a.trailing_zeros() });
        }
        Unary::FirstLeadingBit if signed => {
            words1(a, dst, |a| first_leading_bit(if (a as i32) < 0 { !a } else { a }));
        }
        Unary::FirstLeadingBit => words1(a, dst, first_leading_bit),
        _ => unreachable!("no {op:?} of integers passes validation"),
    }
}

/// An operation of two operands; bools have those of words.
pub(super) fn binary(op: Binary, signed: bool, a: &[u32], b: &[u32], dst: &mut [u32]) {
    match op {
        Binary::Add => words2(a, b, dst, u32::wrapping_add),
        Binary::Sub => words2(a, b, dst, u32::wrapping_sub),
        Binary::Mul => words2(a, b, dst, u32::wrapping_mul),
        Binary::Div if signed => words2(a, b, dst, divide_signed),
        Binary::Div => words2(a, b, dst, |a, b| a.checked_div(b).unwrap_or(a)),
        Binary::Rem if signed => {
            words2(a, b, dst, |a, b| (a as i32).checked_rem(b as i32).unwrap_or(0) as u32)
        }
        Binary::Rem => words2(a, b, dst, |a, b| a.checked_rem(b).unwrap_or(0)),
        Binary::Eq => words2(a, b, dst, |a, b| mask(a == b)),
        Binary::Ne => words2(a, b, dst, |a, b| mask(a != b)),
        Binary::And => words2(a, b, dst, |a, b| a & b),
        Binary::Or => words2(a, b, dst, |a, b| a | b),
        Binary::Xor => words2(a, b, dst, |a, b| a ^ b),
        Binary::Shl => words2(a, b, dst, u32::wrapping_shl),
        Binary::Shr if signed => words2(a, b, dst, |a, b| (a as i32).wrapping_shr(b) as u32),
        Binary::Shr => words2(a, b, dst, u32::wrapping_shr),
        _ if signed => ordered(op, a, b, dst, |word| word as i32),
        _ => ordered(op, a, b, dst, |word| word),
    }
}

#[inline(always)]
fn ordered<T: Ord>(op: Binary, a: &[u32], b: &[u32], dst: &mut [u32], of: impl Fn(u32) -> T) {
    match op {
        Binary::Lt => words2(a, b, dst, |a, b| mask(of(a) < of(b))),
        Binary::Le => words2(a, b, dst, |a, b| mask(of(a) <= of(b))),
        Binary::Gt => words2(a, b, dst, |a, b| mask(of(a) > of(b))),
        Binary::Ge => words2(a, b, dst, |a, b| mask(of(a) >= of(b))),
        Binary::Min => words2(a, b, dst, |a, b| if of(b) < of(a) { b } else { a }),
        Binary::Max => words2(a, b, dst, |a, b| if of(a) < of(b) { b } else { a }),
        _ => unreachable!("no {op:?} of integers passes validation"),
    }
}

/// An operation of three operands.
pub(super) fn ternary(op: Ternary, signed: bool, args: [&[u32]; 3], dst: &mut [u32]) {
    match op {
        Ternary::Clamp if signed => {
            words3(args, dst, |x, low, high| (x as i32).max(low as i32).min(high as i32) as u32)
        }
        Ternary::Clamp => words3(args, dst, |x, low, high| x.max(low).min(high)),
        Ternary::ExtractBits => words3(args, dst, |x, offset, count| extract(signed, x, offset, count)),
        _ => unreachable!("no {op:?} of integers passes validation"),
    }
}

/// `x / 0` and `i32::MIN / -1` are `x`.
fn divide_signed(a: u32, b: u32) -> u32 {
    (a as i32).checked_div(b as i32).unwrap_or(a as i32) as u32
}

fn first_leading_bit(a: u32) -> u32 {
    31u32.wrapping_sub(a.leading_zeros())
}

/// Offset and count as the bit built-ins clamp them.
fn field(offset: u32, count: u32) -> (u32, u32) {
    let offset = offset.min(32);
    (offset, count.min(32 - offset))
}

fn extract(signed: bool, x: u32, offset: u32, count: u32) -> u32 {
    let (offset, count) = field(offset, count);
    if count == 0 {
        return 0;
    }
    let top = x << (32 - offset - count);
    if signed { ((top as i32) >> (32 - count)) as u32 } else { top >> (32 - count) }
}

/// `insertBits`.
pub(super) fn insert(x: u32, new: u32, offset: u32, count: u32) -> u32 {
    let (offset, count) = field(offset, count);
    if count == 0 {
        return x;
    }
    let mask = (u32::MAX >> (32 - count)) << offset;
    (x & !mask) | ((new << offset) & mask)
}

//! GGUF's blocks of 256 of -1, 0 and 1, times an f16 scale d at the end:
//!
//! `TQ2_0` has codes of 2 bits, from 0 for -1. `TQ1_0` has five digits of base 3 in a byte, the first the
//! highest, as a fraction of 256: of 160 elements in 32 bytes, element 32·i + j is digit i of byte j; of 80 in
//! 16 bytes likewise, and of the last 16 in 4 bytes, which have a digit to spare.

use super::packed::{Codes, Packed, Plane};
use super::{half_at, put_half};

pub(super) static TQ2_0: Packed = Packed {
    planes: &[Plane::new(0, 2, 32)],
    part: 256,
    codes: Codes::Less(1),
    halves: &[64],
    exponent: None,
    scales: &[(64, 66, 2)],
    scale: |b, _| (half_at(b, 64), -0.0),
};

/// Runs of `TQ1_0`: bytes from and to, and digits.
const RUNS: [(usize, usize, usize); 3] = [(0, 32, 5), (32, 48, 5), (48, 52, 4)];

/// The byte and the digit of every element of `TQ1_0`, in their order.
pub(crate) fn digits() -> impl Iterator<Item = (usize, u32)> {
    RUNS.into_iter().flat_map(|(from, to, digits)| {
        (0..digits as u32).flat_map(move |digit| (from..to).map(move |byte| (byte, digit)))
    })
}

pub(super) fn unpack_tq1_0(block: &[u8], values: &mut [f64]) {
    let d = half_at(block, 52);
    for (v, (byte, digit)) in values.iter_mut().zip(digits()) {
        let rest = block[byte].wrapping_mul(3u8.pow(digit));
        *v = d * (f64::from((u16::from(rest) * 3) >> 8) - 1.0);
    }
}

pub(super) fn pack_tq1_0(values: &[f32], block: &mut [u8]) {
    let inverse = largest(values, block, 52);
    let mut sums = [0u16; 52];
    for (v, (byte, digit)) in values.iter().zip(digits()) {
        sums[byte] += u16::from(code(v * inverse)) * 3u16.pow(4 - digit);
    }
    for (to, sum) in block.iter_mut().zip(sums) {
        *to = (sum * 256).div_ceil(243) as u8;
    }
}

pub(super) fn pack_tq2_0(values: &[f32], block: &mut [u8]) {
    let inverse = largest(values, block, 64);
    for (i, v) in values.iter().enumerate() {
        TQ2_0.put(block, i, code(v * inverse));
    }
}

/// Writes the scale, which is the largest element; returns what elements are multiplied with.
fn largest(values: &[f32], block: &mut [u8], at: usize) -> f32 {
    let d = values.iter().fold(0f32, |m, v| m.max(v.abs()));
    put_half(block, at, d);
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

fn code(v: f32) -> u8 {
    (v.round().clamp(-1.0, 1.0) + 1.0) as u8
}

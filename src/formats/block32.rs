//! GGUF's blocks of 32 with one f16 scale, of which the first half of elements lies in the low nibbles:
//!
//! | type | value | bytes |
//! |---|---|---|
//! | `Q4_0` | `d·(q - 8)` | d, 16 of nibbles |
//! | `Q4_1` | `d·q + m` | d, m, 16 of nibbles |
//! | `Q5_0` | `d·(q - 16)` | d, 4 of fifth bits, 16 of nibbles |
//! | `Q5_1` | `d·q + m` | d, m, 4 of fifth bits, 16 of nibbles |
//!
//! The quantisers are ggml's reference: with a zero, the element farthest from 0 becomes the lowest code;
//! without, codes go from the least element to the largest.

use super::packed::{Codes, Packed, Plane};
use super::{half_at, put_half};

pub(super) static Q4_0: Packed = Packed {
    planes: &[Plane::new(2, 4, 16)],
    part: 32,
    codes: Codes::Less(8),
    halves: &[0],
    exponent: None,
    scales: &[(0, 2, 2)],
    scale: |b, _| (half_at(b, 0), -0.0),
};

pub(super) static Q4_1: Packed = Packed {
    planes: &[Plane::new(4, 4, 16)],
    part: 32,
    codes: Codes::Less(0),
    halves: &[0, 2],
    exponent: None,
    scales: &[(0, 4, 4)],
    scale: |b, _| (half_at(b, 0), half_at(b, 2)),
};

pub(super) static Q5_0: Packed = Packed {
    planes: &[Plane::new(6, 4, 16), Plane::new(2, 1, 1)],
    part: 32,
    codes: Codes::Less(16),
    halves: &[0],
    exponent: None,
    scales: &[(0, 2, 2)],
    scale: |b, _| (half_at(b, 0), -0.0),
};

pub(super) static Q5_1: Packed = Packed {
    planes: &[Plane::new(8, 4, 16), Plane::new(4, 1, 1)],
    part: 32,
    codes: Codes::Less(0),
    halves: &[0, 2],
    exponent: None,
    scales: &[(0, 4, 4)],
    scale: |b, _| (half_at(b, 0), half_at(b, 2)),
};

pub(super) fn pack_q4_0(values: &[f32], block: &mut [u8]) {
    around_zero(&Q4_0, 8.0, values, block);
}

pub(super) fn pack_q4_1(values: &[f32], block: &mut [u8]) {
    from_least(&Q4_1, 15.0, values, block);
}

pub(super) fn pack_q5_0(values: &[f32], block: &mut [u8]) {
    around_zero(&Q5_0, 16.0, values, block);
}

pub(super) fn pack_q5_1(values: &[f32], block: &mut [u8]) {
    from_least(&Q5_1, 31.0, values, block);
}

fn around_zero(format: &Packed, zero: f32, values: &[f32], block: &mut [u8]) {
    let farthest = values.iter().fold(0f32, |m, v| if v.abs() > m.abs() { *v } else { m });
    let d = farthest / -zero;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    put_half(block, 0, d);
    for (i, v) in values.iter().enumerate() {
        let code = (v * inverse + (zero + 0.5)).clamp(0.0, 2.0 * zero - 1.0);
        format.put(block, i, code as u8);
    }
}

fn from_least(format: &Packed, last: f32, values: &[f32], block: &mut [u8]) {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let d = (values.iter().copied().fold(f32::NEG_INFINITY, f32::max) - least) / last;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    put_half(block, 0, d);
    put_half(block, 2, least);
    for (i, v) in values.iter().enumerate() {
        format.put(block, i, ((v - least) * inverse + 0.5).clamp(0.0, last) as u8);
    }
}

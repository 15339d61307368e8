//! GGUF's formats whose codes of 4 bits stand for numbers in a table:
//!
//! | type | value | bytes |
//! |---|---|---|
//! | `IQ4_NL` | `d·t[q]` of 32 | d, 16 of nibbles |
//! | `IQ4_XS` | `d·(s - 32)·t[q]`, s for each 32 of 256 | d, 2 of upper and 4 of lower bits of s, 128 of nibbles |
//! | `MXFP4` | `2^(e - 127)·e2m1[q]` of 32 | e, 16 of nibbles |
//! | `NVFP4` | `e4m3(s)·e2m1[q]`, s for each 16 of 64 | 4 of s, 32 of nibbles |
//!
//! Numbers of e2m1 stand here twice as large as they are, so that they are whole, and scales half.

use super::fit::around_zero;
use super::packed::{Codes, Packed, Plane};
use super::{half_at, put_half};

/// The numbers of `IQ4_NL` and `IQ4_XS` (ggml's; PyPI gguf 0.19, MIT).
const UNEVEN: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// e2m1, twice.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

pub(super) static IQ4_NL: Packed = Packed {
    planes: &[Plane::new(2, 4, 16)],
    part: 32,
    codes: Codes::Table(&UNEVEN),
    halves: &[0],
    exponent: None,
    scales: &[(0, 2, 2)],
    scale: |b, _| (half_at(b, 0), -0.0),
};

pub(super) static IQ4_XS: Packed = Packed {
    planes: &[Plane::new(8, 4, 16)],
    part: 32,
    codes: Codes::Table(&UNEVEN),
    halves: &[0],
    exponent: None,
    scales: &[(0, 8, 4)],
    scale: |b, part| {
        let low = b[4 + part / 2] >> (4 * (part % 2)) & 15;
        let high = u16::from_le_bytes([b[2], b[3]]) >> (2 * part) & 3;
        (half_at(b, 0) * (f64::from(u16::from(low) | high << 4) - 32.0), -0.0)
    },
};

pub(super) static MXFP4: Packed = Packed {
    planes: &[Plane::new(1, 4, 16)],
    part: 32,
    codes: Codes::Table(&E2M1),
    halves: &[],
    exponent: Some(0),
    scales: &[(0, 1, 1)],
    scale: |b, _| (power(b[0]), -0.0),
};

pub(super) static NVFP4: Packed = Packed {
    planes: &[Plane::new(4, 4, 8)],
    part: 16,
    codes: Codes::Table(&E2M1),
    halves: &[],
    exponent: None,
    scales: &[(0, 4, 4)],
    scale: |b, part| (e4m3(b[part]) / 2.0, -0.0),
};

/// 2^(e - 128).
fn power(e: u8) -> f64 {
    2f64.powi(i32::from(e) - 128)
}

/// An e4m3 whose sign does not count; the code that would be no number is 0, as in ggml.
fn e4m3(code: u8) -> f64 {
    let (exponent, rest) = (i32::from(code >> 3 & 15), f64::from(code & 7));
    match code {
        0 | 0x7f => 0.0,
        _ if exponent == 0 => rest * 2f64.powi(-9),
        _ => (1.0 + rest / 8.0) * 2f64.powi(exponent - 7),
    }
}

/// The nearest number of the table to a value, and its code; of two as near the first.
fn nearest(table: &[i8; 16], v: f32) -> (u8, f32) {
    let mut best = (0, f32::from(table[0]));
    for (code, number) in (0..).zip(table) {
        let number = f32::from(*number);
        if (number - v).abs() < (best.1 - v).abs() {
            best = (code, number);
        }
    }
    best
}

/// By least squares, as the K formats.
pub(super) fn pack_iq4_nl(values: &[f32], block: &mut [u8]) {
    let d = put_half(block, 0, around_zero(values, -127.0, |v| nearest(&UNEVEN, v).1));
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    for (i, v) in values.iter().enumerate() {
        IQ4_NL.put(block, i, nearest(&UNEVEN, v * inverse).0);
    }
}

/// The best scale of each part, as for `IQ4_NL`, in whole 32nds of the largest; then codes that are nearest by the
/// scales that came out.
pub(super) fn pack_iq4_xs(values: &[f32], block: &mut [u8]) {
    let parts = || values.chunks(IQ4_XS.part);
    let scales: Vec<f32> = parts().map(|part| around_zero(part, -127.0, |v| nearest(&UNEVEN, v).1)).collect();
    let largest = scales.iter().fold(0f32, |m, s| if s.abs() > m.abs() { *s } else { m });
    let d = put_half(block, 0, largest / -32.0);
    let (mut low, mut high) = ([0u8; 4], 0u16);
    for (i, (part, best)) in parts().zip(scales).enumerate() {
        let s = if d == 0.0 { 0.0 } else { (best / d).round_ties_even().clamp(-32.0, 31.0) };
        let code = (s + 32.0) as u8;
        low[i / 2] |= (code & 15) << (4 * (i % 2));
        high |= u16::from(code >> 4) << (2 * i);
        let inverse = if d * s == 0.0 { 0.0 } else { 1.0 / (d * s) };
        for (j, v) in part.iter().enumerate() {
            IQ4_XS.put(block, IQ4_XS.part * i + j, nearest(&UNEVEN, v * inverse).0);
        }
    }
    block[2..4].copy_from_slice(&high.to_le_bytes());
    block[4..8].copy_from_slice(&low);
}

/// As ggml: the largest element's power of two over 4, and for each element the code that is nearest.
pub(super) fn pack_mxfp4(values: &[f32], block: &mut [u8]) {
    let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
    // Rounded to f32, as ggml has it: just below a power of two that makes a difference.
    let log2 = libm::log2(f64::from(largest)) as f32;
    block[0] = if largest > 0.0 { (log2.floor() - 2.0 + 127.0).clamp(0.0, 254.0) as u8 } else { 0 };
    let d = power(block[0]) as f32;
    for (i, v) in values.iter().enumerate() {
        let mut best = (0, f32::INFINITY);
        for (code, number) in (0..).zip(E2M1) {
            let error = (d * f32::from(number) - v).abs();
            if error < best.1 {
                best = (code, error);
            }
        }
        MXFP4.put(block, i, best.0);
    }
}

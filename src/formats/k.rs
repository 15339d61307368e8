//! GGUF's K formats: blocks of 256 in parts, whose scales (and least values) are whole numbers times one or
//! two f16 of the block:
//!
//! | type | value | parts of | bytes |
//! |---|---|---|---|
//! | `Q2_K` | `d·s·q - dmin·m` | 16 | 16 of (m, s) nibbles, 64 of q, d, dmin |
//! | `Q3_K` | `d·(s - 32)·(q - 4)` | 16 | 32 of third bits, 64 of q, 12 of s, d |
//! | `Q4_K` | `d·s·q - dmin·m` | 32 | d, dmin, 12 of (s, m), 128 of q |
//! | `Q5_K` | `d·s·q - dmin·m` | 32 | d, dmin, 12 of (s, m), 32 of fifth bits, 128 of q |
//! | `Q6_K` | `d·s·(q - 32)` | 16 | 128 of q, 64 of upper bits, 16 of s, d |
//!
//! d·s has at most 19 bits and its product with q 24, so both are exact in f32.

use super::half_at;
use super::packed::{Codes, Packed, Plane};

pub(super) mod make;

/// Elements of a block.
const BLOCK: usize = 256;

pub(super) static Q2_K: Packed = Packed {
    planes: &[Plane::new(16, 2, 32)],
    part: 16,
    codes: Codes::Less(0),
    halves: &[80, 82],
    exponent: None,
    scales: &[(0, 16, 4), (80, 84, 4)],
    scale: |b, part| (half_at(b, 80) * f64::from(b[part] & 15), -(half_at(b, 82) * f64::from(b[part] >> 4))),
};

pub(super) static Q3_K: Packed = Packed {
    planes: &[Plane::new(32, 2, 32), Plane::new(0, 1, 32)],
    part: 16,
    codes: Codes::Less(4),
    halves: &[108],
    exponent: None,
    scales: &[(96, 108, 4), (108, 110, 2)],
    scale: |b, part| (half_at(b, 108) * (f64::from(six_bits(&b[96..108], part)) - 32.0), -0.0),
};

pub(super) static Q4_K: Packed = Packed {
    planes: &[Plane::new(16, 4, 32)],
    part: 32,
    codes: Codes::Less(0),
    halves: &[0, 2],
    exponent: None,
    scales: &[(0, 16, 4)],
    scale: scale_and_least,
};

pub(super) static Q5_K: Packed = Packed {
    planes: &[Plane::new(48, 4, 32), Plane::new(16, 1, 32)],
    part: 32,
    codes: Codes::Less(0),
    halves: &[0, 2],
    exponent: None,
    scales: &[(0, 16, 4)],
    scale: scale_and_least,
};

pub(super) static Q6_K: Packed = Packed {
    planes: &[Plane::new(0, 4, 64), Plane::new(128, 2, 32)],
    part: 16,
    codes: Codes::Less(32),
    halves: &[208],
    exponent: None,
    scales: &[(192, 208, 4), (208, 210, 2)],
    scale: |b, part| (half_at(b, 208) * f64::from(b[192 + part] as i8), -0.0),
};

/// One of sixteen numbers of 6 bits: the low four in eight bytes of nibbles, the high two in four bytes.
fn six_bits(bytes: &[u8], i: usize) -> u8 {
    let low = bytes[i % 8] >> (4 * (i / 8)) & 15;
    low | (bytes[8 + i % 4] >> (2 * (i / 4)) & 3) << 4
}

/// One of eight pairs of numbers of 6 bits: of the first four in the low bits of eight bytes, of the others
/// the low four in four more bytes and the high two above those of the first.
fn pair(bytes: &[u8], i: usize) -> (u8, u8) {
    if i < 4 {
        return (bytes[i] & 63, bytes[4 + i] & 63);
    }
    let (low, j) = (bytes[4 + i], i - 4);
    (low & 15 | bytes[j] >> 6 << 4, low >> 4 | bytes[4 + j] >> 6 << 4)
}

fn scale_and_least(b: &[u8], part: usize) -> (f64, f64) {
    let (s, m) = pair(&b[4..16], part);
    (half_at(b, 0) * f64::from(s), -(half_at(b, 2) * f64::from(m)))
}

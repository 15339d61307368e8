//! GGUF's formats of vectors out of a list, blocks of 256 with an f16 scale d:
//!
//! | type | value | bytes |
//! |---|---|---|
//! | `IQ2_XXS` | `d·(s + ½)/4·±g` | d, for each 32: 4 of index, a word of four times 7 bits of signs, 4 of s |
//! | `IQ2_XS` | `d·(s + ½)/4·±g` | d, 32 words of 9 bits of index and 7 of signs, 8 of two s |
//! | `IQ2_S` | `d·(s + ½)/4·±g` | d, 32 of index, 32 of signs, 8 of upper bits of index, 8 of two s |
//! | `IQ3_XXS` | `d·(s + ½)/2·±g` | d, 64 of index, for each 32 a word of four times 7 bits of signs, 4 of s |
//! | `IQ3_S` | `d·(2s + 1)·±g` | d, 64 of index, 8 of upper bits, 32 of signs, 4 of two s |
//! | `IQ1_S` | `d·(2s + 1)·(g ± ⅛)` | d, 32 of index, for each 32 a word of 4·3 upper bits, 3 of s, a sign |
//! | `IQ1_M` | `d·(2s + 1)·(g ± ⅛)` | 32 of index, 16 of two times 3 upper bits and a sign, 4 words of s and d |
//!
//! Seven bits of signs are followed by one that makes the number of minus signs even.

use super::half_at;
use crate::dtype::DType;
use grids::{IQ1, IQ2_S, IQ2_XS, IQ2_XXS};
use grids_of_four::{IQ3_S, IQ3_XXS};

mod grids;
mod grids_of_four;

/// The numbers of the lists: of `IQ2`, of `IQ3_XXS` and of `IQ3_S`.
const IQ2: [f64; 4] = [8.0, 25.0, 43.0, 0.0];
const XXS: [f64; 8] = [4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0];
const S: [f64; 8] = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0];

/// The list of a type's vectors.
pub(super) fn list(dtype: DType) -> &'static [u16] {
    match dtype {
        DType::Iq1S | DType::Iq1M => &IQ1,
        DType::Iq2Xxs => &IQ2_XXS,
        DType::Iq2Xs => &IQ2_XS,
        DType::Iq2S => &IQ2_S,
        DType::Iq3Xxs => &IQ3_XXS,
        DType::Iq3S => &IQ3_S,
        _ => &[],
    }
}

/// Seven bits of signs with the eighth.
fn with_even(signs: u32) -> u8 {
    let signs = signs & 127;
    (signs | (signs.count_ones() & 1) << 7) as u8
}

/// Eight elements out of a list of `IQ2`.
fn eight(values: &mut [f64], scale: f64, entry: u16, signs: u8) {
    for (i, v) in values.iter_mut().enumerate() {
        let sign = if signs >> i & 1 == 1 { -1.0 } else { 1.0 };
        *v = scale * IQ2[usize::from(entry >> (2 * i) & 3)] * sign;
    }
}

/// Eight elements, two entries of a list of `IQ3`.
fn twice_four(values: &mut [f64], scale: f64, numbers: &[f64; 8], entries: [u16; 2], signs: u8) {
    for (i, v) in values.iter_mut().enumerate() {
        let sign = if signs >> i & 1 == 1 { -1.0 } else { 1.0 };
        *v = scale * numbers[usize::from(entries[i / 4] >> (4 * (i % 4)) & 7)] * sign;
    }
}

/// Eight elements out of the list of `IQ1`.
fn ternary(values: &mut [f64], scale: f64, index: usize, below: bool) {
    let delta = if below { -0.125 } else { 0.125 };
    for (i, v) in values.iter_mut().enumerate() {
        *v = scale * (f64::from(IQ1[index] >> (2 * i) & 3) - 1.0 + delta);
    }
}

fn word(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

fn short(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

/// One of the nibbles from a place on, the low one of a byte first.
fn nibble(block: &[u8], at: usize, i: usize) -> f64 {
    f64::from(block[at + i / 2] >> (4 * (i % 2)) & 15)
}

pub(super) fn unpack_iq2_xxs(block: &[u8], values: &mut [f64]) {
    let d = half_at(block, 0);
    for (i, values) in values.chunks_exact_mut(8).enumerate() {
        let at = 2 + i / 4 * 8;
        let signs = word(block, at + 4);
        let scale = d * (0.5 + f64::from(signs >> 28)) * 0.25;
        let entry = IQ2_XXS[usize::from(block[at + i % 4])];
        eight(values, scale, entry, with_even(signs >> (7 * (i % 4))));
    }
}

pub(super) fn unpack_iq2_xs(block: &[u8], values: &mut [f64]) {
    let d = half_at(block, 0);
    for (i, values) in values.chunks_exact_mut(8).enumerate() {
        let word = short(block, 2 + 2 * i);
        let scale = d * (0.5 + nibble(block, 66, i / 2)) * 0.25;
        eight(values, scale, IQ2_XS[usize::from(word & 511)], with_even(u32::from(word >> 9)));
    }
}

pub(super) fn unpack_iq2_s(block: &[u8], values: &mut [f64]) {
    let d = half_at(block, 0);
    for (i, values) in values.chunks_exact_mut(8).enumerate() {
        let high = block[66 + i / 4] >> (2 * (i % 4)) & 3;
        let scale = d * (0.5 + nibble(block, 74, i / 2)) * 0.25;
        let index = usize::from(block[2 + i]) | usize::from(high) << 8;
        eight(values, scale, IQ2_S[index], block[34 + i]);
    }
}

pub(super) fn unpack_iq3_xxs(block: &[u8], values: &mut [f64]) {
    let d = half_at(block, 0);
    for (i, values) in values.chunks_exact_mut(8).enumerate() {
        let signs = word(block, 66 + i / 4 * 4);
        let scale = d * (0.5 + f64::from(signs >> 28)) * 0.5;
        let entries = [0, 1].map(|half| IQ3_XXS[usize::from(block[2 + 2 * i + half])]);
        twice_four(values, scale, &XXS, entries, with_even(signs >> (7 * (i % 4))));
    }
}

pub(super) fn unpack_iq3_s(block: &[u8], values: &mut [f64]) {
    let d = half_at(block, 0);
    for (i, values) in values.chunks_exact_mut(8).enumerate() {
        let scale = d * (1.0 + 2.0 * nibble(block, 106, i / 4));
        let entries = [2 * i, 2 * i + 1].map(|j| {
            let high = block[66 + j / 8] >> (j % 8) & 1;
            IQ3_S[usize::from(block[2 + j]) | usize::from(high) << 8]
        });
        twice_four(values, scale, &S, entries, block[74 + i]);
    }
}

pub(super) fn unpack_iq1_s(block: &[u8], values: &mut [f64]) {
    let d = half_at(block, 0);
    for (i, values) in values.chunks_exact_mut(8).enumerate() {
        let high = short(block, 34 + i / 4 * 2);
        let index = usize::from(block[2 + i]) | usize::from(high >> (3 * (i % 4)) & 7) << 8;
        let scale = d * f64::from(2 * (high >> 12 & 7) + 1);
        ternary(values, scale, index, high >> 15 == 1);
    }
}

pub(super) fn unpack_iq1_m(block: &[u8], values: &mut [f64]) {
    let scales = [48, 50, 52, 54].map(|at| short(block, at));
    // The four bits of each word that its scales leave are the scale of the block, the lowest first.
    let d = scales.iter().rev().fold(0u16, |d, s| d << 4 | s >> 12);
    let d = half::f16::from_bits(d).to_f64();
    for (i, values) in values.chunks_exact_mut(8).enumerate() {
        let high = block[32 + i / 2] >> (4 * (i % 2)) & 15;
        let index = usize::from(block[i]) | usize::from(high & 7) << 8;
        let part = i / 2;
        let scale = d * f64::from(2 * (scales[part / 4] >> (3 * (part % 4)) & 7) + 1);
        ternary(values, scale, index, high & 8 != 0);
    }
}

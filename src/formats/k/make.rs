//! Making blocks of the K formats. The scale (and least value) of every part is fitted by itself; then they
//! become whole numbers, each of them the one of its neighbours with which the codes leave the least error.

use super::super::fit::{Fit, above_least, around_zero};
use super::super::packed::Packed;
use super::super::put_half;
use super::{BLOCK, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};

pub(in super::super) fn pack_q2_k(values: &[f32], block: &mut [u8]) {
    let whole = with_least(&Q2_K, (80, 82), (3, 15), values, block);
    for (to, (s, m)) in block.iter_mut().zip(whole) {
        *to = s | m << 4;
    }
}

pub(in super::super) fn pack_q4_k(values: &[f32], block: &mut [u8]) {
    let whole = with_least(&Q4_K, (0, 2), (15, 63), values, block);
    put_pairs(&mut block[4..16], &whole);
}

pub(in super::super) fn pack_q5_k(values: &[f32], block: &mut [u8]) {
    let whole = with_least(&Q5_K, (0, 2), (31, 63), values, block);
    put_pairs(&mut block[4..16], &whole);
}

pub(in super::super) fn pack_q3_k(values: &[f32], block: &mut [u8]) {
    let whole = without_least(&Q3_K, 108, (4, 32), values, block);
    for (i, s) in whole.into_iter().enumerate() {
        let s = (s + 32) as u8;
        block[96 + i % 8] |= (s & 15) << (4 * (i / 8));
        block[104 + i % 4] |= (s >> 4) << (2 * (i / 4));
    }
}

pub(in super::super) fn pack_q6_k(values: &[f32], block: &mut [u8]) {
    let whole = without_least(&Q6_K, 208, (32, 128), values, block);
    for (i, s) in whole.into_iter().enumerate() {
        block[192 + i] = s as i8 as u8;
    }
}

fn put_pairs(bytes: &mut [u8], whole: &[(u8, u8)]) {
    for (i, (s, m)) in whole.iter().enumerate() {
        if i < 4 {
            bytes[i] |= s;
            bytes[4 + i] |= m;
        } else {
            bytes[4 + i] = s & 15 | (m & 15) << 4;
            bytes[i - 4] |= s >> 4 << 6;
            bytes[i] |= m >> 4 << 6;
        }
    }
}

/// Writes d, dmin and the codes, from 0 to `last`; returns scale and least of every part, from 0 to `most`.
fn with_least(
    format: &Packed,
    (d_at, dmin_at): (usize, usize),
    (last, most): (u8, u8),
    values: &[f32],
    block: &mut [u8],
) -> Vec<(u8, u8)> {
    let fits: Vec<Fit> = values.chunks(format.part).map(|x| above_least(x, last)).collect();
    let largest = |f: fn(&Fit) -> f32| fits.iter().map(f).fold(0f32, f32::max);
    let d = put_half(block, d_at, largest(|f| f.scale) / f32::from(most));
    let dmin = put_half(block, dmin_at, largest(|f| f.least) / f32::from(most));
    let mut whole = Vec::with_capacity(BLOCK / format.part);
    for (part, (x, fit)) in values.chunks(format.part).zip(&fits).enumerate() {
        let code = |s: u8, m: u8, v: f32| {
            let scale = d * f32::from(s);
            let q = if scale > 0.0 { (v + dmin * f32::from(m)) / scale } else { 0.0 };
            q.round().clamp(0.0, f32::from(last))
        };
        let error = |s: u8, m: u8| -> f32 {
            let (scale, least) = (d * f32::from(s), dmin * f32::from(m));
            x.iter().map(|v| (scale * code(s, m, *v) - least - v).powi(2)).sum()
        };
        let (s, m) = match d {
            // Steps too small for an f16 leave one value for all: as near to their mean as it comes.
            0.0 => (0, nearest(-x.iter().sum::<f32>() / x.len() as f32, dmin, most)),
            _ => (nearest(fit.scale, d, most), nearest(fit.least, dmin, most)),
        };
        let mut best = (f32::INFINITY, (s, m));
        for s in s.saturating_sub(1)..=s.saturating_add(1).min(most) {
            for m in m.saturating_sub(1)..=m.saturating_add(1).min(most) {
                let e = error(s, m);
                if e < best.0 {
                    best = (e, (s, m));
                }
            }
        }
        let (s, m) = best.1;
        for (i, v) in x.iter().enumerate() {
            format.put(block, part * format.part + i, code(s, m, *v) as u8);
        }
        whole.push((s, m));
    }
    whole
}

/// A number in whole steps.
fn nearest(v: f32, step: f32, most: u8) -> u8 {
    if step > 0.0 { (v / step).round().clamp(0.0, f32::from(most)) as u8 } else { 0 }
}

/// Writes d and the codes, of numbers from `-half` on; returns the scale of every part, from `-most` on.
fn without_least(
    format: &Packed,
    d_at: usize,
    (half, most): (u8, u8),
    values: &[f32],
    block: &mut [u8],
) -> Vec<i16> {
    let (half, most) = (f32::from(half), f32::from(most));
    let number = |v: f32| v.round().clamp(-half, half - 1.0);
    let fits: Vec<f32> = values.chunks(format.part).map(|x| around_zero(x, -half, number)).collect();
    // The scale that is farthest from 0 becomes the lowest whole number, of which there is one more.
    let farthest = fits.iter().fold(0f32, |m, f| if f.abs() > m.abs() { *f } else { m });
    let d = put_half(block, d_at, -farthest / most);
    let mut whole = Vec::with_capacity(BLOCK / format.part);
    for (part, (x, fit)) in values.chunks(format.part).zip(&fits).enumerate() {
        let code = |s: f32, v: f32| if d * s == 0.0 { 0.0 } else { number(v / (d * s)) };
        let error = |s: f32| -> f32 { x.iter().map(|v| (d * s * code(s, *v) - v).powi(2)).sum() };
        let near = if d == 0.0 { 0.0 } else { (fit / d).round() };
        let mut best = (f32::INFINITY, near.clamp(-most, most - 1.0));
        for s in [near - 1.0, near, near + 1.0].map(|s| s.clamp(-most, most - 1.0)) {
            let e = error(s);
            if e < best.0 {
                best = (e, s);
            }
        }
        for (i, v) in x.iter().enumerate() {
            format.put(block, part * format.part + i, (code(best.1, *v) + half) as u8);
        }
        whole.push(best.1 as i16);
    }
    whole
}

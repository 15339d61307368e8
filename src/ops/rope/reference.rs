//! What rotation is, and how far off a kernel may be.

use crate::numerics::{Approx, U32, round_error, sum_of};
use crate::op::Axis::{B, D, K, N, S};
use crate::op::RefCall;
use crate::ops::for_each_row;

use super::{Pairing, WORDS};

/// cos and sin with what each may be off by.
type Trigonometry = [(f64, f64); 2];

/// Of the turn that is `turn`·2⁻⁶⁴.
///
/// The angle from the nearest quarter turn on, |a| ≤ π/4, is the sum of two whole numbers times constants: their
/// conversion, the constant, the product and the sum cost 7 unit roundoffs. sin a = a + a·t, |t| ≤ 0.1 with 8 of
/// its own: an addition, the product and what t has, 3.2; a series cut off after a⁹, 0.04. cos a = 1 + t, |t| ≤
/// 0.3 with 7 of its own: an addition, and what t has; cut off after a⁸, 0.42. At a quarter there is nothing to
/// round.
fn trigonometry(turn: u64) -> Trigonometry {
    let quarter = turn.wrapping_add(1 << 61) >> 62;
    let left = turn.wrapping_sub(quarter << 62) as i64;
    let a = left as f64 * (std::f64::consts::TAU / 2f64.powi(64));
    let (sine, cosine) = a.sin_cos();
    let (sine_off, cosine_off) = match left {
        0 => (0.0, 0.0),
        _ => (
            (7.0 + 3.3) * U32 * sine.abs(),
            (2.0 + 7.0 * (1.0 - cosine) + 7.0 * (a * sine).abs() + 0.42) * U32,
        ),
    };
    let (sine, cosine) = ((sine, sine_off), (cosine, cosine_off));
    let negative = |(v, e): (f64, f64)| (-v, e);
    match quarter {
        0 => [cosine, sine],
        1 => [negative(sine), cosine],
        2 => [negative(cosine), negative(sine)],
        _ => [sine, negative(cosine)],
    }
}

/// a·b as an f32 operation.
fn product((a, ea): (f64, f64), (b, eb): (f64, f64)) -> (f64, f64) {
    (a * b, round_error(a * b, a.abs() * eb + b.abs() * ea + ea * eb))
}

pub(super) fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [b, s, rows] = [B, S, N].map(|a| c.sizes.get(a).max(1));
    let (positions, start) = (c.inputs[2].map(|p| &p.value), c.attr("start"));
    let position = |token: usize, follows: usize| {
        positions.map_or(start + (token % s) as f64, |p| p[follows.min(rows - 1) * b * s + token]) as u64
    };
    vec![turned(c, c.input(0), c.input(1), position)]
}

// cos and sin times m; two products, a sum.
/// Heads `x [B, S, H, D]` of tokens, each of which stands where `position(token, row of positions)` says.
pub(crate) fn turned(
    c: &RefCall<'_>,
    x: &Approx,
    turns: &Approx,
    position: impl Fn(usize, usize) -> u64 + Sync,
) -> Approx {
    let (mut out, turns) = (x.clone(), &turns.value);
    let (heads, width) = (x.shape[x.shape.len() - 2].max(1), c.sizes.get(D));
    let (pairs, scale) = (c.sizes.get(K), c.attr("scale"));
    let neighbours = c.attr("pairing") == f64::from(Pairing::Neighbours as u32);
    let work = out.value.len() * 32;
    for_each_row(width, &mut out.value, &mut out.error, work, |row, value, error| {
        for pair in 0..pairs {
            let [low, high, follows] = [0, 1, 2].map(|i| turns[pair * WORDS + i] as u64);
            let turn = position(row / heads, follows as usize).wrapping_mul(high << 32 | low);
            let factor = |t| if scale == 1.0 { t } else { product(t, (scale, 0.0)) };
            let [cosine, sine] = trigonometry(turn).map(factor);
            let (i, j) = if neighbours { (2 * pair, 2 * pair + 1) } else { (pair, pair + pairs) };
            let (x, z) = ((value[i], error[i]), (value[j], error[j]));
            let negative = (-sine.0, sine.1);
            (value[i], error[i]) = sum_of(product(x, cosine), product(z, negative));
            (value[j], error[j]) = sum_of(product(z, cosine), product(x, sine));
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_are_exact_and_every_octant_is_the_same_circle() {
        let exact = |turn: u64| trigonometry(turn).map(|(v, e)| (v, e == 0.0));
        assert_eq!(exact(0), [(1.0, true), (0.0, true)]);
        assert_eq!(exact(1 << 62), [(-0.0, true), (1.0, true)]);
        assert_eq!(exact(1 << 63), [(-1.0, true), (-0.0, true)]);
        assert_eq!(exact(3 << 62), [(0.0, true), (-1.0, true)]);
        for i in 0..64u64 {
            let turn = i << 58 | 0x1234_5678;
            let a = std::f64::consts::TAU * (turn as f64 / 2f64.powi(64));
            let [(cosine, cosine_off), (sine, sine_off)] = trigonometry(turn);
            assert!((cosine - a.cos()).abs() < 1e-15 && (sine - a.sin()).abs() < 1e-15, "{i}");
            let most = 16.0 * U32;
            assert!(cosine_off > 0.0 && sine_off > 0.0 && cosine_off < most && sine_off < most, "{i}");
        }
    }
}

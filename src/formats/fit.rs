//! The search for the scale of a few values: of several first guesses, each with the codes that it gives
//! and the scale that fits these codes best (least squares), the one that leaves the least error.

/// Guesses on either side of the one that just covers all values, and how far apart they are, in codes.
const GUESSES: i32 = 8;
const APART: f32 = 0.125;

/// A scale, and what is added to every value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fit {
    /// What codes are multiplied with.
    pub scale: f32,
    /// What is taken off, at least 0.
    pub least: f32,
}

/// The fit of `scale·q - least` with q from 0 to `last`.
pub(super) fn above_least(x: &[f32], last: u8) -> Fit {
    let (low, high) = x.iter().fold((0f32, 0f32), |(l, h), v| (l.min(*v), h.max(*v)));
    if high - low <= 0.0 {
        return Fit::default();
    }
    let last = f32::from(last);
    let mut best = (f32::INFINITY, Fit::default());
    for guess in -GUESSES..=GUESSES {
        let per = (last + guess as f32 * APART) / (high - low);
        let code = |v: f32| ((v - low) * per).round().clamp(0.0, last);
        let fit = line(x, code);
        let error = x.iter().map(|v| (fit.scale * code(*v) - fit.least - v).powi(2)).sum();
        if error < best.0 {
            best = (error, fit);
        }
    }
    best.1
}

/// The best line through points (code, value) that is not above 0 at code 0.
fn line(x: &[f32], code: impl Fn(f32) -> f32) -> Fit {
    let n = x.len() as f32;
    let (mut q, mut qq, mut v, mut qv) = (0f32, 0f32, 0f32, 0f32);
    for value in x {
        let c = code(*value);
        (q, qq, v, qv) = (q + c, qq + c * c, v + value, qv + c * value);
    }
    let spread = n * qq - q * q;
    if spread > 0.0 {
        let scale = (n * qv - q * v) / spread;
        let least = (scale * q - v) / n;
        if scale > 0.0 && least >= 0.0 {
            return Fit { scale, least };
        }
    }
    if qq > 0.0 {
        Fit { scale: (qv / qq).max(0.0), least: 0.0 }
    } else {
        Fit { scale: 0.0, least: (-v / n).max(0.0) }
    }
}

/// The scale, of either sign, of `scale·number(q)`, where `nearest` gives the number of the code that is
/// nearest to a value in codes, and `most` is the number that is farthest from 0.
pub(super) fn around_zero(x: &[f32], most: f32, nearest: impl Fn(f32) -> f32) -> f32 {
    let farthest = x.iter().fold(0f32, |m, v| if v.abs() > m.abs() { *v } else { m });
    if farthest == 0.0 {
        return 0.0;
    }
    let mut best = (0f32, farthest / most);
    let step = APART * most.signum() * (most.abs() / 8.0).max(1.0);
    for sign in [1.0, -1.0] {
        for guess in -GUESSES..=GUESSES {
            let per = sign * (most + guess as f32 * step) / farthest;
            let (mut vn, mut nn) = (0f32, 0f32);
            for v in x {
                let number = nearest(v * per);
                (vn, nn) = (vn + v * number, nn + number * number);
            }
            // With the best scale for them, codes explain so much of Σx².
            if nn > 0.0 && vn * vn / nn > best.0 {
                best = (vn * vn / nn, vn / nn);
            }
        }
    }
    best.1
}

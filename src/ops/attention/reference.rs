//! What attention means, key by key, and how far off a kernel may be that goes over keys in tiles.

use std::borrow::Cow;

use crate::formats::CacheForm;
use crate::numerics::{Approx, EITHER_NEIGHBOUR, LAMBDA, Sum, U32, round_error, sum_of};
use crate::op::Axis::{B, C, D, G, H, S, T};
use crate::op::RefCall;
use crate::ops::attention::OPEN;
use crate::ops::elementwise::unary::{DIVISION, log_error, tanh};
use crate::ops::for_each_row;
use crate::ops::matmul::matrix::staged_rows;
use crate::plan::Numerics;

/// The score of a key that a query sees, with its error.
pub(crate) struct Score {
    /// `None` for the sink, whose value is 0.
    pub key: Option<usize>,
    /// The score.
    pub value: f64,
    /// How far off it may be.
    pub error: f64,
}

// Rows that are staged as f16 have what that rounds. What a quantised row stands for has the error of its
// product with the scale. Score: the sum's bound, two roundings for the scale; capped, a division, tanh and a
// product; a product and a sum for the slope, of whole numbers that f32 holds; a sum for the mask; what leaves
// f32 downwards stays at its end. The sink is one term more, of one factor more. exp(score - largest): the
// score's error and the difference's rounding become relative, and exp costs (3 + 2|x|) ulp; rescaling
// multiplies one such factor whenever a larger score came, whose exponents add up to |x| again; where none came
// the factor is 1. Numerator and denominator are sums of n terms; a division (or an inverse and a product).
// Never worse than max|v| + |o|, since the result is a mean of v. The log-sum-exp moves by the scores' largest
// error at most, by the denominator's relative one, and by what WGSL allows log; one more sum.
pub(super) fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [b, s, h, width] = [B, S, H, C].map(|a| c.sizes.get(a));
    let (k, v) = (decoded(c, 1, "k_form", c.sizes.get(D)), decoded(c, 2, "v_form", width));
    let (q, k) = match c.numerics {
        Numerics::F16Staged => {
            (Cow::Owned(staged_rows(c.input(0), c.sizes.get(D))), Cow::Owned(staged_rows(&k, c.sizes.get(D))))
        }
        _ => (Cow::Borrowed(c.input(0)), k),
    };
    let (q, k, v) = (&*q, &*k, &*v);
    let work = b * s * h * c.sizes.get(T) * (c.sizes.get(D) + width);
    let (t, g) = (c.sizes.get(T), c.sizes.get(G));
    // A key's row: of a page that is named, if there are pages.
    let (count, page) = (c.input(1).shape[0], c.input(1).shape[1]);
    let place = |b: usize, key: usize| match c.inputs[7] {
        Some(pages) => {
            let at = pages.value[b * (1 + t / page) + 1 + key / page];
            (at as usize).min(count - 1) * page + key % page
        }
        None => b * t + key,
    };
    let kv = |row: usize, key: usize| place(row / (s * h), key) * g + row % h / (h / g);
    let mut out = Approx::exact(&[b, s, h, width], vec![0.0; b * s * h * width]);
    for_each_row(width, &mut out.value, &mut out.error, work, |row, value, error| {
        let scores = scores(c, row, [q, k], |key| kv(row, key));
        let v = |key: Option<usize>, i| key.map_or((0.0, 0.0), |key| v.at(kv(row, key) * width + i));
        weigh(&scores, tiles(&scores), v, value, error);
    });
    if c.attr("lse") == 0.0 {
        return vec![out];
    }
    let mut lse = Approx::exact(&[b, h, s], vec![0.0; b * h * s]);
    for_each_row(1, &mut lse.value, &mut lse.error, work, |at, value, error| {
        let row = (at / (h * s) * s + at % s) * h + at / s % h;
        let scores = scores(c, row, [q, k], |key| kv(row, key));
        (value[0], error[0]) = log_sum_exp(&scores, tiles(&scores));
    });
    vec![out, lse]
}

/// Keys or values as numbers, those of a quantised cache with what a device may be off by.
fn decoded<'a>(c: &RefCall<'a>, arg: usize, form: &str, width: usize) -> Cow<'a, Approx> {
    let given = c.inputs[arg].expect("the graph checked that this input is there");
    let Some(form) = CacheForm::from_number(c.attr(form) as u32) else { return Cow::Borrowed(given) };
    let rows: usize = given.shape[..3].iter().product();
    let bytes = form.row_bytes(width);
    let elements = (0..rows).flat_map(|row| form.read(&given.value[row * bytes..][..bytes], width));
    let (value, error) = elements.unzip();
    let shape = [&given.shape[..3], &[width]].concat();
    Cow::Owned(Approx { error, ..Approx::exact(&shape, value) })
}

/// How many keys a query may see by the lengths and causality, and the scores of those that no mask
/// hides. `row` counts over [B, S, H], `kv` gives the row of a key.
fn scores(c: &RefCall<'_>, row: usize, [q, k]: [&Approx; 2], kv: impl Fn(usize) -> usize) -> Vec<Score> {
    let [s, t, h, d] = [S, T, H, D].map(|a| c.sizes.get(a));
    let (lengths, mask) = (c.inputs[3], c.inputs[4]);
    let (slopes, sinks, cap) = (c.inputs[5], c.inputs[6], c.attr("softcap"));
    let (batch, query, head) = (row / (s * h), row / h % s, row % h);
    let length = lengths.map_or(t, |l| (l.value[batch] as usize).min(t));
    let reach = c.attr("reach") as usize;
    let at = query as f64 + reach.checked_sub(1).map_or(0, |r| [t, s, length][r]) as f64 - s as f64;
    let side =
        |name| Some(c.attr(name)).filter(|n| reach > 0 && *n < f64::from(OPEN)).unwrap_or(f64::INFINITY);
    let seen = length.min((at + side("right") + 1.0).max(0.0) as usize);
    let first = (at - side("left")).max(0.0) as usize;
    let scale = c.attr("scale");
    let score = |key: usize| {
        let added = mask.map_or((0.0, 0.0), |m| m.at(((batch * h + head) * s + query) * t + key));
        if added.0 == f64::NEG_INFINITY {
            return None;
        }
        let mut sum = Sum::new();
        for i in 0..d {
            let ((x, ex), (y, ey)) = (q.at(row * d + i), k.at(kv(key) * d + i));
            sum.add(x * y, x.abs() * ey + ex * (y.abs() + ey));
        }
        let (dot, e) = sum.finish();
        let (mut value, mut error) = (dot * scale, round_error(dot * scale, e * scale.abs()));
        if cap != 0.0 {
            let y = value / cap;
            let (tanh, own) = tanh(y);
            let e = error / cap + DIVISION * y.abs();
            (value, error) = (tanh * cap, round_error(tanh * cap, (e + own) * cap));
        }
        if let Some(slopes) = slopes {
            let (slope, along) = (slopes.at(head), key as f64 - at);
            let tilt = slope.0 * along;
            (value, error) = sum_of((value, error), (tilt, round_error(tilt, slope.1 * along.abs())));
        }
        if mask.is_some() {
            (value, error) = sum_of((value, error), added);
            // What is lower counts as this in the kernel.
            error += (-(2f64.powi(127)) - value).max(0.0);
        }
        Some(Score { key: Some(key), value, error })
    };
    let mut scores: Vec<_> = (first..seen).filter_map(score).collect();
    if let Some(sinks) = sinks.filter(|_| !scores.is_empty()) {
        let (value, error) = sinks.at(head);
        scores.push(Score { key: None, value, error });
    }
    scores
}

/// The largest score, Σ exp(score - largest) with its error less what scores inherit, and each term
/// with all of its error, for keys in `tiles` tiles.
fn exponentials(scores: &[Score], tiles: f64) -> (f64, (f64, f64), Vec<(f64, f64)>) {
    let largest = scores.iter().fold(f64::NEG_INFINITY, |m, s| m.max(s.value));
    let round = EITHER_NEIGHBOUR * U32;
    let (mut mass, mut own) = (0.0, 0.0);
    let mut weights = Vec::with_capacity(scores.len());
    for Score { value, error, .. } in scores {
        let x = value - largest;
        let relative = 3.0 * round * x.abs() + (tiles + 1.0) * 5.0 * round;
        let w = x.exp();
        mass += w;
        own += w * relative.min(700.0).exp_m1() + 2e-38;
        weights.push((w, w * (error + relative).min(700.0).exp_m1() + 2e-38));
    }
    (largest, (mass, own), weights)
}

/// The bound of a sum over keys, per unit of magnitude, and how many terms it has.
fn sum_over_keys(keys: usize, tiles: f64) -> (f64, f64) {
    let n = keys as f64 + tiles + 1.0;
    (n.min(LAMBDA * n.sqrt()) * U32, n)
}

/// How often sums over these keys may be rescaled: whenever, in a block of the fewest keys that a kernel takes
/// together, a score may be larger than all before it; and where what was made of shares, or of a sink, is joined.
fn tiles(scores: &[Score]) -> f64 {
    let (mut count, mut top, mut last) = (1.0, f64::NEG_INFINITY, None);
    for Score { key, value, error } in scores {
        let block = key.map(|key| key / 4);
        if value + error > top && (block.is_none() || block != last) {
            count += 1.0;
            last = block;
        }
        top = top.max(value - error);
    }
    count
}

pub(crate) fn log_sum_exp(scores: &[Score], tiles: f64) -> (f64, f64) {
    if scores.is_empty() {
        return (f64::NEG_INFINITY, 0.0);
    }
    let (largest, (mass, own), _) = exponentials(scores, tiles);
    let off = own + sum_over_keys(scores.len(), tiles).0 * mass;
    let inherited = scores.iter().fold(0f64, |m, s| m.max(s.error));
    let log = mass.ln();
    let log_off = log_error(mass, log).max(log_error(mass - off, log)) + off / (mass - off).max(0.5);
    (largest + log, round_error(largest + log, inherited + log_off))
}

/// The mean of `v` weighted by softmax of the scores, each with its error.
pub(crate) fn weigh(
    scores: &[Score],
    tiles: f64,
    v: impl Fn(Option<usize>, usize) -> (f64, f64),
    value: &mut [f64],
    error: &mut [f64],
) {
    if scores.is_empty() {
        return;
    }
    let (_, (mass, _), weights) = exponentials(scores, tiles);
    let mass_error: f64 = weights.iter().map(|w| w.1).sum();
    let round = EITHER_NEIGHBOUR * U32;
    let (sum, n) = sum_over_keys(scores.len(), tiles);
    for (i, (out, out_error)) in value.iter_mut().zip(error).enumerate() {
        let (mut total, mut magnitude, mut e, mut top) = (0.0, 0.0, 0.0, 0f64);
        for (score, (w, w_error)) in scores.iter().zip(&weights) {
            let (x, ex) = v(score.key, i);
            total += w * x;
            magnitude += w * x.abs();
            e += w_error * (x.abs() + ex) + w * ex;
            top = top.max(x.abs() + ex);
        }
        *out = total / mass;
        let numerator = e + sum * magnitude + n * f64::from(f32::MIN_POSITIVE);
        let denominator = mass_error + sum * mass;
        let quotient = (numerator + out.abs() * denominator) / (mass - denominator).max(mass * 0.25);
        let capped = quotient.min(top + out.abs() + top * sum);
        *out_error = round_error(*out, capped + (DIVISION + round) * out.abs());
    }
}

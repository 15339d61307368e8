//! What may be drawn: a token by exact arithmetic, and all others that the errors allowed leave open.
//!
//! Sums of masses are exact. What is not is each mass, which is known between two whole numbers, and the order of
//! tokens whose logits lie within their errors. So what comes before a token for certain, and what may, are known.

use crate::dtype::DType;
use crate::numerics::Approx;
use crate::op::Axis::{N, R, V};
use crate::op::RefCall;
use crate::ops::elementwise::unary::{DIVISION, ROUND, exp_error, quotient_error};

/// The first word of Philox4x32-10 (Salmon et al. 2011).
pub(super) fn philox(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [a, b] = [0xd251_1f53 * u64::from(c[0]), 0xcd9e_8d57 * u64::from(c[2])];
        let high = |v: u64| (v >> 32) as u32;
        c = [high(b) ^ c[1] ^ key[0], b as u32, high(a) ^ c[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// Half of f32's range, as the kernel has it: what is past it counts as that.
const EDGE: f64 = 1.701_411_733_192_644_3e38;
/// A mass of 1.
const ONE: f64 = 2_147_483_648.0;
/// 2³², of which a draw is a part.
const WORDS: f64 = 4_294_967_296.0;

/// The numbers of a call.
struct How {
    penalty: f64,
    temperature: f64,
    top_k: usize,
    top_p: f64,
    min_p: f64,
}

/// Two ends of what is not known exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Between {
    least: f64,
    most: f64,
}

/// A row's tokens: what their logits and masses lie between, and what the formula makes of them.
struct Row {
    value: Vec<f64>,
    logit: Vec<Between>,
    mass: Vec<Between>,
    exact: Vec<f64>,
    /// Those of the filter by `min_p`.
    kept: Vec<Between>,
    exact_kept: Vec<f64>,
}

pub(super) fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (x, recent) = (c.input(0), c.inputs[1]);
    let [rows, width, n] = [R, V, N].map(|a| c.sizes.get(a));
    // What a call gives travels as an f32.
    let float = |name| f64::from(c.attr(name) as f32);
    let how = How {
        penalty: float("penalty"),
        temperature: float("temperature"),
        top_k: c.attr("top_k") as usize,
        top_p: float("top_p"),
        min_p: float("min_p").min(1.0),
    };
    let mut y = Approx::exact(&[rows], vec![0.0; rows]);
    for r in (0..rows).filter(|_| width > 0) {
        let last = recent.map_or(&[][..], |list| &list.value[r * n..(r + 1) * n]);
        let tokens = r * width..(r + 1) * width;
        let row = Row::new(&x.value[tokens.clone()], &x.error[tokens], last, &how);
        let random = philox([c.attr("step") as u32, r as u32, 0, 0], [c.attr("seed") as u32, 0])[0];
        let (token, also) = row.draw(&how, f64::from(random));
        y.value[r] = token as f64;
        y.also.extend(also.into_iter().filter(|i| *i != token).map(|i| (r, i as f64)));
    }
    vec![y]
}

/// A recent token's logit, by a quotient or a product.
fn penalised(v: f64, e: f64, penalty: f64) -> (f64, f64) {
    let q = if v > 0.0 { v / penalty } else { v * penalty };
    // Where the sign is open, either may have been done.
    let slope = match () {
        () if e >= v.abs() => penalty.max(1.0 / penalty),
        () if v > 0.0 => 1.0 / penalty,
        () => penalty,
    };
    let flushed = if q.abs() < 1e-37 { DType::F32.min_normal() } else { 0.0 };
    (q, e * slope + quotient_error(q).max(ROUND * q.abs()) + flushed)
}

impl Row {
    fn new(x: &[f64], error: &[f64], recent: &[f64], how: &How) -> Self {
        let mut value: Vec<f64> = x.iter().map(|v| v.clamp(-EDGE, EDGE)).collect();
        let mut error = error.to_vec();
        if how.penalty != 1.0 {
            let tokens = recent.iter().map(|t| *t as usize);
            let mut tokens: Vec<usize> = tokens.filter(|t| *t < x.len() && value[*t] > -EDGE).collect();
            tokens.sort_unstable();
            tokens.dedup();
            for t in tokens {
                let (v, e) = penalised(value[t], error[t], how.penalty);
                (value[t], error[t]) = (v.clamp(-EDGE, EDGE), e);
            }
        }
        let ends = |(v, e): (&f64, &f64)| Between { least: v - e, most: v + e };
        let logit: Vec<Between> = value.iter().zip(&error).map(ends).collect();
        let top = Between {
            least: logit.iter().fold(f64::NEG_INFINITY, |m, b| m.max(b.least)),
            most: logit.iter().fold(f64::NEG_INFINITY, |m, b| m.max(b.most)),
        };
        let largest = value.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
        let temperature = how.temperature.clamp(2f64.powi(-60), 2f64.powi(60));
        let weights: Vec<Between> = logit.iter().map(|b| weight(*b, top, temperature)).collect();
        let exactly = |v: &f64| match () {
            () if *v == largest => 1.0,
            () if *v <= -EDGE => 0.0,
            () => ((v - largest).max(-1e18) / temperature).exp(),
        };
        let exact: Vec<f64> = value.iter().map(exactly).collect();
        let whole = |e: f64| (e * ONE).floor();
        let filtered = |e: f64| if e >= how.min_p { whole(e) } else { 0.0 };
        let both = |f: &dyn Fn(f64) -> f64| {
            weights.iter().map(|w| Between { least: f(w.least), most: f(w.most) }).collect::<Vec<_>>()
        };
        Self {
            mass: both(&whole),
            kept: both(&filtered),
            exact_kept: exact.iter().map(|e| filtered(*e)).collect(),
            exact: exact.iter().map(|e| whole(*e)).collect(),
            value,
            logit,
        }
    }

    /// The token that is drawn by `random` of 2³², and all that may be.
    fn draw(&self, how: &How, random: f64) -> (usize, Vec<usize>) {
        let width = self.value.len();
        let cold = how.temperature < 2f64.powi(-60);
        let k = if cold { 1 } else { how.top_k };
        let k = if k == 0 || k > width { width } else { k };
        let part = (how.top_p.clamp(0.0, 1.0) * WORDS).floor();
        // Rounded up as whole numbers, which f64 does not hold at this size.
        let share = |all: f64| match part < WORDS {
            true => (all as u128 * part as u128).div_ceil(WORDS as u128).max(1) as f64,
            false => f64::INFINITY,
        };
        let drawn = |all: f64| (all as u128 * random as u128 / WORDS as u128) as f64 + 1.0;
        (self.exactly(k, share, drawn), self.perhaps(k, share, drawn))
    }

    fn exactly(&self, k: usize, share: impl Fn(f64) -> f64, drawn: impl Fn(f64) -> f64) -> usize {
        let value = &self.value;
        let mut order: Vec<usize> = (0..value.len()).collect();
        order.sort_by(|a, b| falling(value[*a], *a, value[*b], *b));
        order.truncate(k);
        let goal = share(order.iter().map(|i| self.exact[*i]).sum());
        let mut before = 0.0;
        order.retain(|i| {
            let stays = before < goal;
            before += self.exact[*i];
            stays
        });
        let goal = drawn(order.iter().map(|i| self.exact_kept[*i]).sum());
        let mut upto = 0.0;
        order
            .into_iter()
            .find(|i| {
                upto += self.exact_kept[*i];
                upto >= goal
            })
            .unwrap_or(0)
    }

    /// All tokens that may be drawn: what comes before them may be as little as what does for certain, or as much
    /// as what may, and so may what is left by each filter.
    fn perhaps(&self, k: usize, share: impl Fn(f64) -> f64, drawn: impl Fn(f64) -> f64) -> Vec<usize> {
        let all = 0..self.value.len();
        let least = Ranks::new(self.logit.iter().map(|b| b.least).collect());
        let most = Ranks::new(self.logit.iter().map(|b| b.most).collect());
        let (mass, kept) = (|i: usize| self.mass[i], |i: usize| self.kept[i]);
        let surely: [Vec<f64>; 2] = [least.sums(|i| mass(i).least), least.sums(|i| kept(i).least)];
        let maybe: [Vec<f64>; 2] = [most.sums(|i| mass(i).most), most.sums(|i| kept(i).most)];
        let places = all.clone().map(|i| {
            let itself = self.logit[i].most > self.logit[i].least;
            let sure = least.before(self.logit[i].most, i);
            (sure, most.before(self.logit[i].least, i), itself)
        });
        let places: Vec<(usize, usize, bool)> = places.collect();
        let own = |i: usize, of: Between| if places[i].2 { of.most } else { 0.0 };
        // What is left for certain, and what may be: of the first filter, then of the second.
        let mut sure: Vec<bool> = places.iter().map(|p| p.1 - usize::from(p.2) < k).collect();
        let mut open: Vec<bool> = places.iter().map(|p| p.0 < k).collect();
        let sum = |of: &dyn Fn(usize) -> f64, which: &[bool]| -> f64 {
            all.clone().filter(|i| which[*i]).map(of).sum()
        };
        let goal = Between {
            least: share(sum(&|i| mass(i).least, &sure)),
            most: share(sum(&|i| mass(i).most, &open)),
        };
        for i in all.clone() {
            sure[i] &= maybe[0][places[i].1] - own(i, mass(i)) < goal.least;
            open[i] &= surely[0][places[i].0] < goal.most;
        }
        let goal = Between {
            least: drawn(sum(&|i| kept(i).least, &sure)),
            most: drawn(sum(&|i| kept(i).most, &open)),
        };
        let fits = |i: &usize| {
            let (before, upto) =
                (surely[1][places[*i].0], maybe[1][places[*i].1] - own(*i, kept(*i)) + kept(*i).most);
            open[*i] && kept(*i).most > 0.0 && before < goal.most && upto >= goal.least
        };
        all.clone().filter(fits).collect()
    }
}

/// exp((z - top) / temperature) for z and top between these ends. z - top, the product and what it is a product
/// with round; exp has (3 + 2|d|) ulp. The largest weighs 1, and what was -∞ nothing beside it.
fn weight(z: Between, top: Between, temperature: f64) -> Between {
    let (below, above) = (z.least - top.most, (z.most - top.least).min(0.0));
    let relative = 2.0 * ROUND + DIVISION;
    let exp = |d: f64, way: f64| {
        let d = d.max(-1e18) / temperature;
        let d = d + way * (d.abs() * relative + 1e-19);
        d.exp() * (1.0 + way * exp_error(d.max(-87.0)))
    };
    let none = |end: f64| end <= -EDGE;
    Between {
        least: match () {
            () if z.least >= top.most => 1.0,
            () if none(z.least) => 0.0,
            () => exp(below, -1.0).max(0.0),
        },
        most: match () {
            () if z.most >= top.least => 1.0,
            () if none(z.most) => 0.0,
            () => exp(above, 1.0).min(1.0),
        },
    }
}

fn falling(a: f64, i: usize, b: f64, j: usize) -> std::cmp::Ordering {
    b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal).then(i.cmp(&j))
}

/// Tokens by falling number, then by rising place.
struct Ranks {
    order: Vec<usize>,
    number: Vec<f64>,
}

impl Ranks {
    fn new(number: Vec<f64>) -> Self {
        let mut order: Vec<usize> = (0..number.len()).collect();
        order.sort_by(|a, b| falling(number[*a], *a, number[*b], *b));
        Self { order, number }
    }

    /// How many come before one of this number and place.
    fn before(&self, number: f64, place: usize) -> usize {
        self.order.partition_point(|i| falling(self.number[*i], *i, number, place).is_lt())
    }

    /// The sum of the first of them, for each number of them from 0 on. They are whole and fit.
    fn sums(&self, of: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0];
        for i in &self.order {
            sums.push(sums[sums.len() - 1] + of(*i));
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: How = How { penalty: 1.0, temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0 };

    fn row(x: &[f64], recent: &[f64], how: &How) -> Row {
        Row::new(x, &vec![0.0; x.len()], recent, how)
    }

    /// The tokens that an even sweep of all draws meets, in their order.
    fn met(x: &[f64], recent: &[f64], how: &How) -> Vec<usize> {
        let row = row(x, recent, how);
        let mut met: Vec<usize> = (0..4096u32).map(|i| row.draw(how, f64::from(i << 20)).0).collect();
        met.sort_unstable();
        met.dedup();
        met
    }

    #[test]
    fn philox_is_that_of_random123() {
        for (counter, key, words) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox(counter, key), words);
        }
    }

    #[test]
    fn filters_leave_what_their_definitions_say() {
        // Probabilities of 1/8, 1/2, 1/4 and 1/8.
        let x = [-2.0, 0.0, -1.0, -2.0].map(|v: f64| v * std::f64::consts::LN_2);
        assert_eq!(met(&x, &[], &PLAIN), [0, 1, 2, 3]);
        assert_eq!(met(&x, &[], &How { top_k: 3, ..PLAIN }), [0, 1, 2]);
        assert_eq!(met(&x, &[], &How { top_k: 1, ..PLAIN }), [1]);
        // Until as much is reached, and not one more; of equal ones the first.
        assert_eq!(met(&x, &[], &How { top_p: 0.49, ..PLAIN }), [1]);
        assert_eq!(met(&x, &[], &How { top_p: 0.51, ..PLAIN }), [1, 2]);
        assert_eq!(met(&x, &[], &How { top_p: 0.8, ..PLAIN }), [0, 1, 2]);
        // Of what top_k leaves the largest has two thirds.
        assert_eq!(met(&x, &[], &How { top_k: 2, top_p: 0.66, ..PLAIN }), [1]);
        assert_eq!(met(&x, &[], &How { min_p: 0.3, ..PLAIN }), [1, 2]);
        assert_eq!(met(&x, &[], &How { min_p: 1.0, ..PLAIN }), [1]);
        // min_p is of the largest, after the temperature.
        assert_eq!(met(&x, &[], &How { min_p: 0.3, temperature: 2.0, ..PLAIN }), [0, 1, 2, 3]);
        assert_eq!(met(&x, &[], &How { temperature: 0.0, ..PLAIN }), [1]);
        // A negative logit becomes more negative, a positive one smaller, once however often it is there.
        let cold = How { penalty: 2.0, temperature: 0.0, ..PLAIN };
        assert_eq!(met(&[3.0, 2.0, 1.0], &[0.0, 0.0], &cold), [1]);
        assert_eq!(met(&[3.0, 1.4, 1.0], &[0.0, 7.0, 4_294_967_295.0], &cold), [0]);
        assert_eq!(met(&[-1.0, -1.5, -3.0], &[0.0], &cold), [1]);
        let hidden = [f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY, -3.0];
        assert_eq!(met(&hidden, &[2.0], &How { penalty: 2.0, temperature: 9.0, ..PLAIN }), [1, 3]);
    }

    #[test]
    fn draws_are_distributed_as_softmax_is() {
        let x: Vec<f64> = (0..12).map(|i| f64::from(i * 7 % 12) / 4.0).collect();
        for (how, kept) in [
            (PLAIN, 12),
            (How { temperature: 0.7, top_k: 9, ..PLAIN }, 9),
            (How { temperature: 1.5, top_k: 11, min_p: 0.25, ..PLAIN }, 9),
        ] {
            let row = row(&x, &[], &how);
            let mut seen = [0u32; 12];
            for step in 0..2000 {
                let (token, also) = row.draw(&how, f64::from(philox([step, 0, 0, 0], [42, 0])[0]));
                assert_eq!(also, [token], "step {step}");
                seen[token] += 1;
            }
            let mut order: Vec<usize> = (0..12).collect();
            order.sort_by(|a, b| falling(x[*a], *a, x[*b], *b));
            let mass: Vec<f64> = order[..kept].iter().map(|i| (x[*i] / how.temperature).exp()).collect();
            let expected: Vec<f64> = mass.iter().map(|m| 2000.0 * m / mass.iter().sum::<f64>()).collect();
            let off = order.iter().zip(&expected).map(|(i, e)| (f64::from(seen[*i]) - e).powi(2) / e);
            let chi2: f64 = off.sum();
            // One in a thousand is above: 31.3 of 11 degrees of freedom, 26.1 of 8. Draws are always the same.
            assert!(chi2 < if kept == 12 { 31.3 } else { 26.1 }, "{chi2} {seen:?}");
            assert!(order[kept..].iter().all(|i| seen[*i] == 0), "{seen:?}");
        }
    }

    #[test]
    fn what_errors_leave_open_is_right_too_and_nothing_else() {
        let how = How { temperature: 0.0, ..PLAIN };
        let near = Row::new(&[1.0, 3.0, 2.9, 2.0], &[0.1; 4], &[], &how);
        assert_eq!(near.draw(&how, 0.0), (1, vec![1, 2]));
        let far = Row::new(&[1.0, 3.0, 2.7, 2.0], &[0.1; 4], &[], &how);
        assert_eq!(far.draw(&how, 0.0), (1, vec![1]));
        // Two masses of which one may be off: only a draw at the very end of the first may be either.
        let x = row(&[0.0, -1.0], &[], &PLAIN);
        let end = (WORDS / (1.0 + (-1f64).exp())).round();
        let tokens = |random: f64| x.draw(&PLAIN, random).1;
        assert_eq!(tokens(end), [0, 1]);
        assert_eq!((tokens(end - 4000.0), tokens(end + 4000.0)), (vec![0], vec![1]));
        // At the size of a vocabulary, what is open is a few tokens.
        let mut rng = crate::rng::Rng::new(3);
        let x: Vec<f64> = (0..151_936).map(|_| (4.0 * rng.signed()).exp() - 9.0).collect();
        let (large, mut open) = (row(&x, &[], &PLAIN), 0);
        for i in 0..3 {
            open += large.draw(&PLAIN, f64::from(philox([i, 0, 0, 0], [0, 0])[0])).1.len();
        }
        assert!(open <= 6, "{open}");
    }
}

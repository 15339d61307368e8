//! Two runs of one measurement, of which neither knew the other.
//!
//! Whatever else a machine does only ever slows a kernel down, for milliseconds or for seconds, and where
//! buffers came to lie slows it down for as long as they are there. So samples that are taken one after the
//! other say less than they seem to, and a run measures in rounds: seconds apart, with other buffers. Of every
//! round the shortest time counts, and of all rounds the shortest again, which is nearest to what the kernel
//! takes when it is alone. How near follows from the next ones: where the shortest of many lie close
//! together, there is not much below them. If times are about as frequent everywhere near the least possible, the
//! distance of the shortest from it, as a multiple of the distance between the shortest and the j-th, is
//! distributed as `u^(-1/(j-1)) - 1` of a uniform u (Robson and Whitlock, 1964, for j = 2). A run that was
//! disturbed in every round has its shortest times far apart, and says that it knows little.

use crate::bench::samples::{Comparison, Verdict};
use crate::rng::Rng;

/// How sure an interval is.
const CONFIDENCE: f64 = 0.99;
/// How sure one is of which nothing less than faster or slower follows: there is a row for each of many kernels,
/// and what is called slower and is not costs somebody a day.
const SURER: f64 = 0.998;
/// Of the rounds at most so many, and at most two of five, are taken for near the least possible.
const NEAR: usize = 8;
/// How often the least possible times are drawn.
const DRAWS: usize = 8000;

/// The shortest time of each round. `rounds` says how many samples each has, in order.
pub fn shortest(seconds: &[f64], rounds: &[usize]) -> Vec<f64> {
    let mut at = 0;
    let mut one = |count: &usize| {
        let range = at..at + count;
        at = range.end;
        let samples = seconds.get(range).unwrap_or_default();
        samples.iter().copied().min_by(f64::total_cmp).unwrap_or(f64::NAN)
    };
    rounds.iter().map(&mut one).collect()
}

/// Compares two runs: each is the shortest times of its rounds, and those of a yardstick that was measured in
/// turn with it, so that a machine that is slower as a whole cancels; of no yardstick, ones. `margin` is the
/// smallest difference that matters. The interval holds the ratio 99 times of 100; faster and slower are said if
/// even one that holds it 998 times of 1000 lies beyond the margin, and the third shortest times agree.
///
/// Fewer than eight rounds in each say too little, and are too noisy.
pub fn compare_rounds(first: [&[f64]; 2], second: [&[f64]; 2], margin: f64) -> Comparison {
    let mut rng = Rng::new(2);
    let mut drawn = |rounds: &[f64]| least(rounds, &mut rng);
    let [a, b, c, d] = [drawn(first[0]), drawn(first[1]), drawn(second[0]), drawn(second[1])];
    let mut ratios: Vec<f64> = (0..DRAWS).map(|i| c[i] / d[i] * b[i] / a[i]).collect();
    ratios.sort_by(f64::total_cmp);
    let numbers = ratios.iter().all(|r| r.is_finite());
    let within = |confidence: f64| {
        let tail = (DRAWS as f64 * (1.0 - confidence) / 2.0) as usize;
        let (low, high) = (ratios[tail], ratios[DRAWS - 1 - tail]);
        let (low, high) = if numbers { (low, high) } else { (f64::NAN, f64::NAN) };
        Comparison::new(ratios[DRAWS / 2], low, high, margin)
    };
    let (sure, surer) = (within(CONFIDENCE), within(SURER));
    // One lucky time of twenty decides nothing: the third shortest must say the same.
    let [a, b, c, d] = [first[0], first[1], second[0], second[1]].map(third);
    let third = c / d * b / a;
    let agrees = match surer.verdict {
        Verdict::Faster => third * (1.0 + margin) < 1.0,
        Verdict::Slower => third > 1.0 + margin,
        _ => false,
    };
    let verdict = match sure.verdict {
        Verdict::Same => Verdict::Same,
        other if other == surer.verdict && agrees => other,
        _ => Verdict::TooNoisy,
    };
    Comparison { verdict, ..sure }
}

/// The third shortest; NaN if there are fewer.
fn third(rounds: &[f64]) -> f64 {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(2).copied().unwrap_or(f64::NAN)
}

/// What may be the least possible time, drawn many times; NaN if there are too few rounds, or one is no time.
fn least(rounds: &[f64], rng: &mut Rng) -> Vec<f64> {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let near = (2 * sorted.len() / 5).min(NEAR);
    if near < 3 || !sorted.iter().all(|s| s.is_finite() && *s > 0.0) {
        return vec![f64::NAN; DRAWS];
    }
    let gap = sorted[near - 1] - sorted[0];
    let beyond = |u: f64| u.powf(-1.0 / (near - 1) as f64) - 1.0;
    // A time of nothing, which no kernel takes, would be worse than no bound.
    (0..DRAWS).map(|_| (sorted[0] - gap * beyond(1.0 - rng.unit())).max(sorted[0] * 1e-3)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_its_shortest_time() {
        assert_eq!(shortest(&[2.0, 1.0, 9.0, 4.0, 3.0, 5.0], &[3, 1, 2]), [1.0, 4.0, 3.0]);
        // Of rounds that are not there nothing is known.
        assert!(shortest(&[1.0], &[1, 1])[1].is_nan() && shortest(&[1.0], &[0])[0].is_nan());
    }

    /// Rounds of a kernel that takes `s`, a hundredth more or less lucky, of which `disturbed` in a hundred are
    /// slowed down by up to as much again.
    fn run(s: f64, disturbed: u64, rounds: usize, seed: u64) -> Vec<f64> {
        let mut rng = Rng::new(seed);
        let mut one = || {
            let slowed = if rng.below(100) < disturbed { 1.0 + rng.unit() } else { 1.0 };
            s * (1.0 + 0.01 * rng.signed()) * slowed
        };
        (0..rounds).map(|_| one()).collect()
    }

    #[test]
    fn disturbances_are_no_difference_and_a_tenth_is_one() {
        let (mut known, mut unknown) = (0, 0);
        for seed in 0..300 {
            let said = |factor: f64, disturbed: [u64; 2], slower: f64| {
                let of = |s, disturbed, i: u64| run(s, disturbed, 20, 10 * seed + i);
                let first = [&of(1.0, disturbed[0], 0)[..], &of(0.5, 10, 1)];
                let second = [&of(factor * slower, disturbed[1], 2)[..], &of(0.5 * slower, 10, 3)];
                compare_rounds(first, second, 0.05).verdict
            };
            // A machine that is quiet, one that is not, and one that is slower as a whole.
            for (disturbed, slower) in [([5, 5], 1.0), ([10, 40], 1.0), ([20, 20], 1.7)] {
                for (factor, truth) in [(1.0, Verdict::Same), (1.1, Verdict::Slower), (0.9, Verdict::Faster)]
                {
                    let verdict = said(factor, disturbed, slower);
                    assert!(verdict == truth || verdict == Verdict::TooNoisy, "{seed}: {verdict:?}");
                    known += usize::from(verdict == truth);
                }
            }
            // Nothing is ranked where most rounds were disturbed: it may not be known, but it is not wrong.
            let noisy = said(1.0, [20, 90], 1.0);
            assert!(matches!(noisy, Verdict::Same | Verdict::TooNoisy), "{seed}: {noisy:?}");
            unknown += usize::from(noisy == Verdict::TooNoisy);
        }
        assert!(known > 2600 && unknown > 200, "{known} of 2700, {unknown} of 300");
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        // Times as frequent everywhere from 1 to 1.3: no luck is too bad for what was assumed.
        let misses = (0..2000).filter(|seed| {
            let mut rng = Rng::new(*seed);
            let mut of = || -> Vec<f64> { (0..24).map(|_| 1.0 + 0.3 * rng.unit()).collect() };
            let ones = [1.0; 24];
            let c = compare_rounds([&of(), &ones], [&of(), &ones], 0.0);
            c.low > 1.0 || c.high < 1.0
        });
        let misses = misses.count();
        assert!(misses <= 30, "{misses} of 2000, of which 20 are allowed in the mean");
    }

    #[test]
    fn one_lucky_round_decides_nothing() {
        for seed in 0..50 {
            let of = |s: f64, i: u64| run(s, 0, 20, 10 * seed + i);
            let lucky = |mut rounds: Vec<f64>| {
                rounds[7] *= 0.86;
                rounds
            };
            let said = |a: Vec<f64>, p: Vec<f64>, b: Vec<f64>, q: Vec<f64>| {
                compare_rounds([&a, &p], [&b, &q], 0.05).verdict
            };
            let ranked = |v| matches!(v, Verdict::Faster | Verdict::Slower);
            assert!(!ranked(said(of(1.0, 0), of(1.0, 1), lucky(of(1.0, 2)), of(1.0, 3))), "{seed}");
            assert!(!ranked(said(lucky(of(1.0, 0)), of(1.0, 1), of(1.0, 2), of(1.0, 3))), "{seed}");
            assert!(!ranked(said(of(1.0, 0), lucky(of(1.0, 1)), of(1.0, 2), of(1.0, 3))), "{seed}");
            // Nor does it hide a slower kernel behind a faster one.
            let hidden = said(of(1.0, 0), of(1.0, 1), lucky(of(1.1, 2)), of(1.0, 3));
            assert_ne!(hidden, Verdict::Faster, "{seed}");
        }
    }

    #[test]
    fn too_few_rounds_and_no_times_say_nothing() {
        let said = |a: &[f64], b: &[f64]| compare_rounds([a, &[1.0; 8]], [b, &[1.0; 8]], 0.05).verdict;
        assert_eq!(said(&[1.0; 8], &[1.0; 8]), Verdict::Same);
        assert_eq!(said(&[1.0; 8], &[1.2; 8]), Verdict::Slower);
        let wrong = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, f64::NAN];
        for nothing in [&[1.0; 7][..], &[1.0], &[], &wrong, &[0.0; 8], &[-1.0; 8]] {
            assert_eq!(said(nothing, &[1.0; 8]), Verdict::TooNoisy, "{nothing:?}");
            assert_eq!(said(&[1.0; 8], nothing), Verdict::TooNoisy, "{nothing:?}");
        }
    }
}

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

/// Compares two runs by their sittings: each is a number for every sitting, of a kernel as a multiple of its
/// yardstick. What lasts as long as a device is open makes those of one run differ among themselves, and is no
/// difference between two; nothing is assumed of how it is distributed. The interval is Hodges and Lehmann's
/// (1963), of the ratios of all pairs, which holds the ratio of two like distributions 99 times of 100. Of four
/// and four sittings there is none so sure: then it is all that the ratios span, and the second is `false`.
///
/// `None` if a run has fewer than two sittings.
pub fn compare_sittings(first: &[f64], second: &[f64], margin: f64) -> Option<(Comparison, bool)> {
    let mut ratios: Vec<f64> = second.iter().flat_map(|b| first.iter().map(move |a| b / a)).collect();
    ratios.sort_by(f64::total_cmp);
    if first.len().min(second.len()) < 2 || !ratios.iter().all(|r| r.is_finite()) {
        return None;
    }
    let left_out = left_out(first.len(), second.len());
    let (at, last) = (left_out.unwrap_or(0), ratios.len() - 1);
    let compared = Comparison::new(ratios[ratios.len() / 2], ratios[at], ratios[last - at], margin);
    Some((compared, left_out.is_some()))
}

/// How many of the smallest and of the largest ratios of all pairs lie outside of the interval: as many as Mann
/// and Whitney's U is below, on each side, at most half of the times that the interval may miss. `None` if
/// not even the whole range is sure enough.
fn left_out(n: usize, m: usize) -> Option<usize> {
    // In how many of all orders of n and m numbers so many pairs stand the wrong way round.
    let mut orders = vec![1.0];
    for i in 1..=n {
        // Times (1 - q^(m + i)) / (1 - q^i): the Gaussian binomial, factor by factor.
        let mut next = vec![0.0; i * m + 1];
        for (u, count) in orders.iter().enumerate() {
            next[u] += count;
        }
        for u in i..next.len() {
            next[u] += next[u - i];
        }
        let powers: Vec<f64> = next.clone();
        for u in m + i..next.len() {
            next[u] -= powers[u - m - i];
        }
        orders = next;
    }
    let all: f64 = orders.iter().sum();
    let (mut below, mut u) = (0.0, 0);
    while u < orders.len() && (below + orders[u]) / all <= (1.0 - CONFIDENCE) / 2.0 {
        below += orders[u];
        u += 1;
    }
    u.checked_sub(1)
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
    fn sittings_are_compared_where_there_are_enough() {
        // Of 12 numbers 4 can be chosen in 495 ways: one of them and its mirror image are less than a hundredth,
        // and so are two.
        assert_eq!(
            [left_out(4, 4), left_out(4, 8), left_out(4, 12), left_out(5, 5)],
            [None, Some(1), Some(3), Some(0)]
        );
        assert_eq!(left_out(0, 4), None);
        assert_eq!(compare_sittings(&[1.0; 4], &[1.0], 0.05), None);
        assert!(!compare_sittings(&[1.0; 4], &[1.0; 4], 0.05).unwrap().1);
        // A sitting that was lucky, and one that something else disturbed, are two of sixteen.
        let mut many = [[1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.01]; 2].concat();
        many.extend([0.85, 1.9]);
        let said = |of: &[f64]| compare_sittings(&[1.0, 1.01, 0.99, 1.02], of, 0.05).unwrap();
        assert_eq!((said(&many).0.verdict, said(&many).1), (Verdict::Same, true));
        many.iter_mut().for_each(|s| *s *= 1.1);
        assert_ne!(said(&many).0.verdict, Verdict::Same);
        assert!(compare_sittings(&[f64::NAN; 4], &many, 0.05).is_none());
    }

    #[test]
    fn the_interval_of_sittings_holds_the_truth_as_often_as_it_says() {
        let misses = (0..2000).filter(|seed| {
            let mut rng = Rng::new(*seed);
            // Two kinds of luck, a seventh apart.
            let mut of = |n: usize| -> Vec<f64> {
                (0..n).map(|_| if rng.below(2) == 0 { 1.0 } else { 1.14 } + 0.01 * rng.unit()).collect()
            };
            let (c, _) = compare_sittings(&of(4), &of(8), 0.0).unwrap();
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

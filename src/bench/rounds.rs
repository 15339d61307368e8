//! Two runs of one measurement, of which neither knew the other.
//!
//! Samples of one process say less than they seem to: where its buffers came to lie in memory is decided
//! once, and every sample of it is fast or slow alike. So a run measures in rounds, each with buffers of its
//! own, and what is compared is rounds: a number for each, and no matter how many samples went into it.
//! Rounds are few, and nothing is known of how luck is distributed, so the interval is the one that assumes
//! nothing of that: of all ratios of a round of one run to a round of the other, those in the middle, as many
//! as the distribution of Mann and Whitney's U says (Hodges and Lehmann, 1963; Moses, 1965).

use crate::bench::Samples;
use crate::bench::samples::Comparison;

/// Of the samples of a round the time that this part of them stays below is taken: whatever else ran on the
/// machine only ever slowed it down.
const FAST: f64 = 0.1;
/// How sure an interval is. There is one for each of many rows, and none may be called slower that is not.
const CONFIDENCE: f64 = 0.999;

/// A number for each round: the time as a multiple of the yardstick's, which was measured in turn with it, so
/// that what slows both down cancels. `rounds` says how many samples each round has, in order.
pub fn multiples(seconds: &[f64], yardstick: Option<&[f64]>, rounds: &[usize]) -> Vec<f64> {
    let mut at = 0;
    let fast = |of: &[f64]| Samples::new(of.to_vec()).quantile(FAST);
    let mut one = |count: &usize| {
        let range = at..at + count;
        at = range.end;
        let of = |all: &[f64]| all.get(range.clone()).map_or(f64::NAN, fast);
        of(seconds) / yardstick.map_or(1.0, of)
    };
    rounds.iter().map(&mut one).collect()
}

/// Compares two runs by a number for each of their rounds. `margin` is the smallest difference that matters.
///
/// If rounds are as alike between runs as within one, the ratio lies in the interval 999 times of 1000, however
/// they are distributed. Fewer than seven rounds in each cannot say that of anything, and are too noisy.
pub fn compare_rounds(first: &[f64], second: &[f64], margin: f64) -> Comparison {
    let mut ratios: Vec<f64> = first.iter().flat_map(|a| second.iter().map(move |b| b / a)).collect();
    ratios.sort_by(f64::total_cmp);
    let left_out = left_out(first.len(), second.len(), CONFIDENCE);
    let numbers = ratios.iter().all(|r| r.is_finite());
    let ends = left_out.filter(|_| numbers).map(|n| (ratios[n], ratios[ratios.len() - 1 - n]));
    let (low, high) = ends.unwrap_or((f64::NAN, f64::NAN));
    Comparison::new(Samples::new(ratios).median(), low, high, margin)
}

/// How many of the `m * n` ratios lie outside the interval at each end; `None` if all of them would not do.
///
/// The interval from the `k`-th least to the `k`-th largest misses on one side where U, the number of pairs in
/// the wrong order, is below `k`.
fn left_out(m: usize, n: usize, confidence: f64) -> Option<usize> {
    let ways = ways(m, n);
    let all: f64 = ways.iter().sum();
    let mut tail = 0.0;
    let allowed = |way: &&f64| {
        tail += **way;
        tail <= all * (1.0 - confidence) / 2.0
    };
    ways.iter().take_while(allowed).count().checked_sub(1)
}

/// In how many orders of `m` and `n` things that alone differ by their kind U is 0, 1, ..., m·n: the
/// coefficients of a Gaussian binomial.
fn ways(m: usize, n: usize) -> Vec<f64> {
    let mut ways = vec![0.0; m * n + 1];
    ways[0] = 1.0;
    for i in 1..=m {
        // Times (1 - x^(n + i)), over (1 - x^i).
        for u in (n + i..ways.len()).rev() {
            ways[u] -= ways[u - n - i];
        }
        for u in i..ways.len() {
            ways[u] += ways[u - i];
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Verdict;
    use crate::rng::Rng;

    #[test]
    fn orders_are_counted_as_tables_have_them() {
        assert_eq!(ways(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(ways(8, 9).iter().sum::<f64>(), 24310.0);
        // Critical values of U, two-sided at 1 % and at 0.1 %: the last that count as rare.
        for (m, n, of_100, of_1000) in [
            (5, 5, 0, None),
            (6, 6, 2, None),
            (8, 8, 7, Some(2)),
            (8, 9, 9, Some(4)),
            (10, 10, 16, Some(8)),
            (20, 20, 105, Some(81)),
        ] {
            for (m, n) in [(m, n), (n, m)] {
                assert_eq!(
                    (left_out(m, n, 0.99), left_out(m, n, CONFIDENCE)),
                    (Some(of_100), of_1000),
                    "{m} {n}"
                );
            }
        }
        assert_eq!([(0, 0), (1, 1), (4, 4), (1, 90)].map(|(m, n)| left_out(m, n, 0.99)), [None; 4]);
    }

    #[test]
    fn a_round_is_a_number_and_what_slows_it_down_cancels() {
        let seconds = [2.0, 2.0, 9.0, 4.0, 4.0, 4.0];
        let yardstick = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0];
        assert_eq!(multiples(&seconds, Some(&yardstick), &[3, 3]), [2.0, 2.0]);
        assert_eq!(multiples(&seconds, None, &[2, 1, 3]), [2.0, 9.0, 4.0]);
        // Of rounds that are not there nothing is known.
        assert!(multiples(&seconds, None, &[6, 1])[1].is_nan());
    }

    /// Rounds of a run: the luck of each, which its samples share, and noise.
    fn run(s: f64, luck: f64, rounds: usize, seed: u64) -> Vec<f64> {
        let mut rng = Rng::new(seed);
        let mut one = || {
            let s = s * (1.0 + luck * rng.signed());
            let samples: Vec<f64> = (0..7).map(|_| s * (1.0 + 0.02 * rng.unit())).collect();
            multiples(&samples, None, &[7])[0]
        };
        (0..rounds).map(|_| one()).collect()
    }

    #[test]
    fn luck_is_no_difference_and_a_difference_shows() {
        let said = |factor: f64, luck, seed| {
            compare_rounds(&run(1.0, luck, 8, seed), &run(factor, luck, 8, seed + 5000), 0.05).verdict
        };
        let (mut undecided, mut flagged) = (0, 0);
        for seed in 0..300 {
            assert_eq!(said(1.0, 0.03, seed), Verdict::Same, "{seed}");
            assert_eq!(said(1.15, 0.03, seed), Verdict::Slower, "{seed}");
            assert_eq!(said(0.85, 0.03, seed), Verdict::Faster, "{seed}");
            let tenth = said(1.1, 0.02, seed);
            assert!(matches!(tenth, Verdict::Slower | Verdict::TooNoisy), "{seed}: {tenth:?}");
            flagged += usize::from(tenth == Verdict::Slower);
            // Rounds that differ by up to a half: little can be said, and nothing wrong is.
            let lucky = said(1.0, 0.2, seed);
            assert!(matches!(lucky, Verdict::Same | Verdict::TooNoisy), "{seed}");
            undecided += usize::from(lucky == Verdict::TooNoisy);
        }
        assert!(undecided > 200 && flagged > 290, "{undecided} {flagged}");
    }

    #[test]
    fn the_interval_holds_what_it_should() {
        // Of rounds that are one of two numbers, as where memory is near or far, one in four the slow one.
        let misses = (0..4000).filter(|seed| {
            let mut rng = Rng::new(*seed);
            let mut of = |n| -> Vec<f64> {
                let mut one = || if rng.below(4) == 0 { 1.3 } else { 1.0 } * (1.0 + 0.01 * rng.signed());
                (0..n).map(|_| one()).collect()
            };
            let c = compare_rounds(&of(8), &of(8), 0.0);
            c.low > 1.0 || c.high < 1.0
        });
        let misses = misses.count();
        assert!(misses <= 8, "{misses} of 4000, of which 4 are allowed in the mean");
    }

    #[test]
    fn too_few_rounds_and_no_numbers_say_nothing() {
        let said = |a: &[f64], b: &[f64]| compare_rounds(a, b, 0.05).verdict;
        assert_eq!(said(&[1.0; 7], &[1.0; 7]), Verdict::Same);
        assert_eq!(said(&[1.0; 7], &[1.2; 7]), Verdict::Slower);
        for few in [&[1.0; 1][..], &[1.0; 6], &[]] {
            assert_eq!(said(few, few), Verdict::TooNoisy);
        }
        assert_eq!(said(&[1.0; 8], &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, f64::NAN]), Verdict::TooNoisy);
        assert_eq!(said(&[0.0; 8], &[1.0; 8]), Verdict::TooNoisy);
    }
}

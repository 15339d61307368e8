//! Two runs of several sittings each, of which neither knew the other.
//!
//! What lasts as long as a device is open makes all rounds of a sitting fast, or all slow, and no round shows
//! it. So of every eight sittings of a run the fastest and the slowest count for nothing: rounds are compared
//! without those of the fastest, and who is ranked must be ahead in all that is left besides. One sitting of
//! either run can then neither make a difference nor hide one.

use crate::bench::rounds::compare_rounds;
use crate::bench::samples::{Comparison, Verdict};

/// Of so many sittings one may be off, at either end; of half as many too.
const ONE_OF: usize = 8;

/// The shortest time of each round of a sitting: of a kernel, and of the yardstick that was measured in turn
/// with it.
pub type Sitting = [Vec<f64>; 2];

/// Compares two runs by their sittings. `margin` is the smallest difference that matters. They are faster or
/// slower where rounds say so ([`compare_rounds`]) and what is left of the sittings differs by half the margin
/// at least; and the same where rounds say so, or do not know it, and eight sittings of each do: what those
/// span holds the ratio of two like distributions 99 times of 100, whatever they are. The interval is that of
/// rounds, or if these do not decide that of sittings.
///
/// Of fewer than two sittings in one, rounds say all.
pub fn compare_sittings(first: &[Sitting], second: &[Sitting], margin: f64) -> Comparison {
    // The shortest of more rounds is shorter.
    let each = first.iter().chain(second).map(|s| s[0].len()).min().unwrap_or(0);
    let (a, b) = (Run::new(first, each), Run::new(second, each));
    let by_rounds = compare_rounds(a.rounds(), b.rounds(), margin);
    if first.len().min(second.len()) < 2 {
        return by_rounds;
    }
    let (low, high) = (b.fastest() / a.slowest(), b.slowest() / a.fastest());
    let spanned = Comparison::new(b.middle() / a.middle(), low, high, margin);
    let (ahead, enough) = (1.0 + margin / 2.0, first.len().min(second.len()) >= ONE_OF);
    match by_rounds.verdict {
        Verdict::Same => return by_rounds,
        Verdict::Slower if low >= ahead => return by_rounds,
        Verdict::Faster if high * ahead <= 1.0 => return by_rounds,
        _ => (),
    }
    let verdict = if enough && spanned.verdict == Verdict::Same { Verdict::Same } else { Verdict::TooNoisy };
    Comparison { verdict, ..spanned }
}

/// What counts of a run.
struct Run {
    /// How long each sitting but the fastest and the slowest took, as a multiple of the yardstick, in order.
    times: Vec<f64>,
    /// The rounds of all but the fastest.
    rounds: Sitting,
}

impl Run {
    fn new(sittings: &[Sitting], each: usize) -> Self {
        let shortest =
            |rounds: &[f64]| rounds.iter().take(each).copied().min_by(f64::total_cmp).unwrap_or(f64::NAN);
        let time = |s: &Sitting| shortest(&s[0]) / shortest(&s[1]);
        let mut sorted: Vec<(f64, &Sitting)> = sittings.iter().map(|s| (time(s), s)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let off = (sorted.len() + ONE_OF / 2) / ONE_OF;
        let times = sorted[off..sorted.len() - off].iter().map(|(time, _)| *time).collect();
        let rounds = |of: usize| sorted[off..].iter().flat_map(|(_, s)| s[of].iter().copied()).collect();
        Self { times, rounds: [rounds(0), rounds(1)] }
    }

    fn rounds(&self) -> [&[f64]; 2] {
        [&self.rounds[0], &self.rounds[1]]
    }

    fn fastest(&self) -> f64 {
        self.times.first().copied().unwrap_or(f64::NAN)
    }

    fn middle(&self) -> f64 {
        self.times.get(self.times.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn slowest(&self) -> f64 {
        self.times.last().copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// A run of a kernel and a yardstick that both take a second: a sitting for each factor, by which the kernel
    /// is slower in it, and a hundredth more or less. A sitting is three rounds, or as many as make twenty.
    fn run(factors: &[f64], seed: u64) -> Vec<Sitting> {
        let mut rng = Rng::new(seed);
        let each = (20 / factors.len()).max(3);
        let mut rounds = |s: f64| (0..each).map(|_| s * (1.0 + 0.01 * rng.signed())).collect();
        factors.iter().map(|f| [rounds(*f), rounds(1.0)]).collect()
    }

    /// What is said of these for many seeds, if it is always the same.
    fn said(first: &[f64], second: &[f64]) -> Option<Verdict> {
        let of = |seed| compare_sittings(&run(first, seed), &run(second, seed + 100), 0.05).verdict;
        let verdicts: Vec<Verdict> = (0..40).map(of).collect();
        verdicts.iter().all(|v| *v == verdicts[0]).then_some(verdicts[0])
    }

    /// So many sittings like any, but for one.
    fn but_one(sittings: usize, one: f64, others: f64) -> Vec<f64> {
        let mut factors = vec![others; sittings];
        factors[1] = one;
        factors
    }

    #[test]
    fn one_sitting_neither_makes_a_difference_nor_hides_one() {
        for (old, new) in [(8, 8), (8, 16), (16, 8), (8, 32)] {
            let (same, slower) = (vec![1.0; new], vec![1.1; new]);
            assert_eq!(said(&vec![1.0; old], &same), Some(Verdict::Same));
            for off in [0.7, 0.88, 1.12, 2.0] {
                let was = but_one(old, off, 1.0);
                assert_eq!(said(&was, &same), Some(Verdict::Same), "{old} {new} {off}");
                assert_eq!(said(&was, &slower), Some(Verdict::Slower), "{old} {new} {off}");
                let is = |s: f64| but_one(new, s * off, s);
                assert_eq!(said(&vec![1.0; old], &is(1.0)), Some(Verdict::Same), "{old} {new} {off}");
                assert_eq!(said(&vec![1.0; old], &is(1.1)), Some(Verdict::Slower), "{old} {new} {off}");
                assert_eq!(said(&vec![1.0; old], &is(0.9)), Some(Verdict::Faster), "{old} {new} {off}");
                assert_eq!(said(&was, &is(1.1)), Some(Verdict::Slower), "{old} {new} {off}");
            }
        }
    }

    #[test]
    fn of_four_old_sittings_one_may_be_off_too() {
        let count = |old: &[f64], new: &[f64], truth: Verdict| {
            let of = |seed| compare_sittings(&run(old, seed), &run(new, seed + 100), 0.05).verdict;
            let verdicts: Vec<Verdict> = (0..40).map(of).collect();
            assert!(verdicts.iter().all(|v| *v == truth || *v == Verdict::TooNoisy), "{verdicts:?}");
            verdicts.iter().filter(|v| **v == truth).count()
        };
        for new in [8, 32] {
            let (same, slower) = (vec![1.0; new], vec![1.1; new]);
            for off in [0.7, 0.88, 1.12, 2.0] {
                let was = but_one(4, off, 1.0);
                assert!(count(&was, &slower, Verdict::Slower) > 30, "{new} {off}");
                assert!(count(&was, &same, Verdict::Same) > 30, "{new} {off}");
            }
        }
        // Where only two are to be had, nobody knows which of them is off.
        assert_eq!(said(&[1.0, 1.12], &[1.1, 1.1]), Some(Verdict::TooNoisy));
    }

    #[test]
    fn what_differs_between_sittings_is_no_difference() {
        let fast = |n: usize| (0..8).map(|i| if i < n { 1.0 } else { 1.12 }).collect::<Vec<f64>>();
        let ranked = |v: Verdict| matches!(v, Verdict::Faster | Verdict::Slower);
        for old in 1..7 {
            for (new, seed) in (0..9).flat_map(|new| (0..10).map(move |seed| (new, seed))) {
                let said = compare_sittings(&run(&fast(old), seed), &run(&fast(new), seed + 100), 0.05);
                assert!(!ranked(said.verdict) || old == 1 && new > 6, "{old} {new}: {said:?}");
            }
        }
    }

    #[test]
    fn a_disturbed_run_is_not_ranked() {
        let (mut known, mut unknown) = (0, 0);
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let mut run = |s: f64, disturbed: u64| -> Vec<Sitting> {
                let mut one = |s: f64, disturbed| {
                    let slowed = if rng.below(100) < disturbed { 1.0 + rng.unit() } else { 1.0 };
                    s * (1.0 + 0.01 * rng.signed()) * slowed
                };
                let mut rounds = |s: f64, d| (0..3).map(|_| one(s, d)).collect();
                (0..8).map(|_| [rounds(s, disturbed), rounds(0.5, 10)]).collect()
            };
            let mut said =
                |s: f64, d: [u64; 2]| compare_sittings(&run(1.0, d[0]), &run(s, d[1]), 0.05).verdict;
            for (s, truth) in [(1.0, Verdict::Same), (1.1, Verdict::Slower), (0.9, Verdict::Faster)] {
                let verdict = said(s, [10, 30]);
                assert!(verdict == truth || verdict == Verdict::TooNoisy, "{seed} {s}: {verdict:?}");
                known += usize::from(verdict == truth);
            }
            let verdict = said(1.0, [20, 90]);
            assert!(matches!(verdict, Verdict::Same | Verdict::TooNoisy), "{seed}: {verdict:?}");
            unknown += usize::from(verdict == Verdict::TooNoisy);
        }
        assert!(known > 700 && unknown > 200, "{known} of 900, {unknown} of 300");
    }

    #[test]
    fn the_interval_of_sittings_holds_the_truth_as_often_as_it_says() {
        let misses = (0..2000).filter(|seed| {
            let mut rng = Rng::new(*seed);
            // Two kinds of luck, a seventh apart.
            let mut of = || -> Vec<Sitting> {
                let mut one = || if rng.below(2) == 0 { 1.0 } else { 1.14 } + 0.01 * rng.unit();
                (0..8).map(|_| [vec![one()], vec![1.0]]).collect()
            };
            let (a, b) = (Run::new(&of(), 1), Run::new(&of(), 1));
            b.fastest() > a.slowest() || b.slowest() < a.fastest()
        });
        let misses = misses.count();
        assert!(misses <= 30, "{misses} of 2000, of which 20 are allowed in the mean");
    }

    #[test]
    fn sittings_are_compared_by_as_many_rounds_each() {
        // The shortest of four rounds is as good as undisturbed; the first alone is not.
        let two = [vec![1.0, 1.2, 1.0, 1.2], vec![1.2, 1.0, 1.2, 1.2]].map(|k| [k, vec![1.0; 4]]);
        let short = [[vec![1.2], vec![1.0]], two[1].clone()];
        let times = |run: &[Sitting], each| Run::new(run, each).times;
        assert_eq!((times(&two, 4), times(&two, 1)), (vec![1.0, 1.0], vec![1.0, 1.2]));
        assert_eq!(times(&short, 1), [1.2, 1.2]);
        // Nothing is known of sittings without rounds, or of none.
        let none = compare_sittings(&[[vec![], vec![]], two[0].clone()], &two, 0.05);
        assert_eq!(none.verdict, Verdict::TooNoisy);
        assert_eq!(compare_sittings(&[], &[], 0.05).verdict, Verdict::TooNoisy);
        let wrong = [[vec![f64::NAN; 9], vec![1.0; 9]], [vec![1.0; 9], vec![1.0; 9]]];
        assert_eq!(compare_sittings(&wrong, &wrong, 0.05).verdict, Verdict::TooNoisy);
    }
}

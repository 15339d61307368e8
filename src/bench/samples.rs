//! Samples of a time, and what may be said of two of them. Pure, and the same for the same samples:
//! what is drawn at random is drawn from a fixed seed.
//!
//! Noise on a computer is one-sided and comes in bursts, so nothing here is a mean: a time is a median,
//! its noise a median of distances, and a comparison an interval from resampled medians (the percentile
//! bootstrap of Efron, 1979).

use crate::rng::Rng;

/// How often samples are drawn anew for an interval.
const RESAMPLES: usize = 1000;
/// How sure an interval is: this much of the resampled medians lies in it.
const CONFIDENCE: f64 = 0.99;

/// Times of the same work, in seconds, in the order in which they were taken.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Samples from seconds.
    pub fn new(seconds: Vec<f64>) -> Self {
        Self(seconds)
    }

    /// The seconds, in the order in which they were taken.
    pub fn seconds(&self) -> &[f64] {
        &self.0
    }

    /// One more.
    pub fn push(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    /// The shortest; NaN if there are none.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// As many are shorter as are longer; NaN if there are none.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Nine of ten are shorter; NaN if there are none.
    pub fn p90(&self) -> f64 {
        self.quantile(0.9)
    }

    /// The median distance from the median; NaN if there are none.
    pub fn mad(&self) -> f64 {
        let median = self.median();
        Self(self.0.iter().map(|s| (s - median).abs()).collect()).median()
    }

    /// How unsure the median is, as a fraction of it: the standard error of a median from the median
    /// distance, which is exact for a normal distribution (σ = 1.4826 · MAD, error 1.2533 · σ / √n).
    pub fn noise(&self) -> f64 {
        1.2533 * 1.4826 * self.mad() / self.median() / (self.0.len() as f64).sqrt()
    }

    /// The value that the fraction `q` of the samples lies below, between neighbours in proportion.
    fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        quantile_of(&sorted, q)
    }
}

/// [`Samples::quantile`] of what is sorted.
fn quantile_of(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q * last as f64;
    let (low, part) = (at as usize, at.fract());
    sorted[low] + part * (sorted[(low + 1).min(last)] - sorted[low])
}

/// Which of two is faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The second is faster.
    Faster,
    /// The second is slower.
    Slower,
    /// They differ by less than what matters.
    Same,
    /// The samples do not say.
    TooNoisy,
}

impl Verdict {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Same => "same",
            Self::TooNoisy => "too noisy",
        }
    }
}

/// The second time as a fraction of the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The median ratio: below 1 if the second is faster.
    pub ratio: f64,
    /// The lower end of the interval that the ratio lies in, 99 times of 100.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// What follows.
    pub verdict: Verdict,
}

impl Comparison {
    /// Faster or slower only if the whole interval lies more than `margin` from 1; the same only if the
    /// whole interval lies within twice that.
    pub(super) fn new(ratio: f64, low: f64, high: f64, margin: f64) -> Self {
        let verdict = if low.is_nan() || high.is_nan() || low > high {
            Verdict::TooNoisy
        } else if high * (1.0 + margin) < 1.0 {
            Verdict::Faster
        } else if low > 1.0 + margin {
            Verdict::Slower
        } else if low * (1.0 + 2.0 * margin) >= 1.0 && high <= 1.0 + 2.0 * margin {
            Verdict::Same
        } else {
            Verdict::TooNoisy
        };
        Self { ratio, low, high, verdict }
    }
}

/// Compares two that were measured in turn: sample `i` of one beside sample `i` of the other, so that
/// what slows the machine down slows both. `margin` is the smallest difference that matters, 0.03 for
/// three in a hundred.
pub fn compare(first: &Samples, second: &Samples, margin: f64) -> Comparison {
    let ratios: Vec<f64> = first.0.iter().zip(&second.0).map(|(a, b)| b / a).collect();
    let drawn = resampled(&ratios, &mut Rng::new(1));
    let (low, high) = interval(drawn);
    Comparison::new(Samples(ratios).median(), low, high, margin)
}

/// The median of as many samples, drawn from these with replacement, many times.
fn resampled(of: &[f64], rng: &mut Rng) -> Vec<f64> {
    let mut drawn = vec![0.0; of.len()];
    let mut one = || {
        drawn.iter_mut().for_each(|d| *d = of[rng.below(of.len() as u64) as usize]);
        drawn.sort_by(f64::total_cmp);
        quantile_of(&drawn, 0.5)
    };
    (0..RESAMPLES).map(|_| one()).collect()
}

/// Where the middle of resampled medians lies; NaN if a sample is no number.
fn interval(mut drawn: Vec<f64>) -> (f64, f64) {
    if drawn.iter().any(|d| d.is_nan()) {
        return (f64::NAN, f64::NAN);
    }
    drawn.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    (quantile_of(&drawn, tail), quantile_of(&drawn, 1.0 - tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around `s`: a little noise both ways, and every tenth a burst that only ever slows down.
    fn noisy(s: f64, n: usize, noise: f64, seed: u64) -> Vec<f64> {
        let mut rng = Rng::new(seed);
        let mut one = || {
            let burst = if rng.below(10) == 0 { 1.0 + rng.unit() } else { 1.0 };
            s * (1.0 + noise * rng.signed()) * burst
        };
        (0..n).map(|_| one()).collect()
    }

    #[test]
    fn what_samples_say() {
        let s = Samples::new(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((s.min(), s.median(), s.p90(), s.mad()), (1.0, 3.0, 4.6, 1.0));
        assert!((s.noise() - 1.2533 * 1.4826 / 3.0 / 5f64.sqrt()).abs() < 1e-12);
        assert_eq!(Samples::new(vec![1.0, 2.0]).median(), 1.5);
        assert!(Samples::default().median().is_nan() && Samples::default().noise().is_nan());
        assert_eq!(Samples::new(vec![2.0]).noise(), 0.0);
    }

    #[test]
    fn a_difference_is_told_where_there_is_one_and_only_there() {
        let verdict = |factor: f64, noise, seed| {
            let of = |s, seed| Samples::new(noisy(s, 40, noise, seed));
            compare(&of(1e-3, seed), &of(1e-3 * factor, seed + 1000), 0.03).verdict
        };
        for seed in 0..50 {
            assert_eq!(verdict(1.0, 0.02, seed), Verdict::Same, "{seed}");
            assert_eq!(verdict(1.10, 0.02, seed), Verdict::Slower, "{seed}");
            assert_eq!(verdict(0.90, 0.02, seed), Verdict::Faster, "{seed}");
            // Nothing is ranked inside the noise.
            let said = verdict(1.0, 0.5, seed);
            assert!(matches!(said, Verdict::TooNoisy | Verdict::Same), "{seed}: {said:?}");
        }
        assert_eq!(verdict(1.0, 0.5, 7), Verdict::TooNoisy);
    }

    #[test]
    fn what_slows_both_down_is_no_difference() {
        let drift = |i: usize| 1.0 + (i as f64 / 7.0).sin().abs();
        let first: Vec<_> = noisy(1.0, 40, 0.01, 1).iter().enumerate().map(|(i, s)| s * drift(i)).collect();
        let second: Vec<_> = noisy(1.1, 40, 0.01, 2).iter().enumerate().map(|(i, s)| s * drift(i)).collect();
        let (first, second) = (Samples::new(first), Samples::new(second));
        assert_eq!(compare(&first, &second, 0.03).verdict, Verdict::Slower);
    }

    #[test]
    fn no_samples_and_no_numbers_say_nothing() {
        let none = compare(&Samples::default(), &Samples::default(), 0.03);
        assert_eq!(none.verdict, Verdict::TooNoisy);
        let one = |s: f64| compare(&Samples::new(vec![s]), &Samples::new(vec![1.0]), 0.03).verdict;
        assert_eq!((one(f64::NAN), one(1.0)), (Verdict::TooNoisy, Verdict::Same));
    }
}

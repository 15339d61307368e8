//! The last two of a race. How fast a kernel is may hang on where a loading's code and data came to lie, and
//! whoever plans with the winner has other luck with that: so each is loaded several times.

use std::time::{Duration, Instant};

use super::{Runner, inputs};
use crate::bench::{Comparison, Samples, Verdict, compare};
use crate::error::{Error, Result};
use crate::gpu::{Effort, Gpu, Subject};
use crate::tensor::Tensor;
use crate::tune::{Task, Trial};

/// How often each is loaded, and at least: compiling may take seconds.
const LOADINGS: usize = 4;
const LEAST: usize = 2;
/// Samples of each loading that say something, and of each where there are fewer loadings.
const SAMPLES: usize = 5;
const SAMPLES_OF_FEW: usize = 10;
/// The smallest difference that is worth another kernel.
const MARGIN: f64 = 0.03;

impl Gpu {
    /// Loads a kernel's plan until there are enough loadings, or the time is up. What has no room any more is
    /// left. `false` if one gives other bits than the first.
    pub(super) fn load_again(
        &self,
        task: &Task,
        runner: &mut Runner,
        trial: &Trial,
        budget: Duration,
    ) -> Result<bool> {
        let begun = Instant::now();
        while runner.loadings.len() < LOADINGS && (runner.loadings.len() < LEAST || begun.elapsed() < budget)
        {
            // Another handle shares neither pipelines nor weights with this one.
            let aside = self.with_profile(self.profile().clone());
            let loaded = aside.load_one(task, runner.kernel, trial).and_then(|(mut exe, io)| {
                let outputs = exe.run_blocking(&inputs(&exe, trial), &trial.call)?;
                Ok((exe, io, outputs))
            });
            let (exe, io, outputs) = match loaded {
                Ok(loaded) => loaded,
                Err(e @ Error::DeviceLost(_)) => return Err(e),
                Err(_) => break,
            };
            if !outputs.iter().map(Tensor::to_bytes).eq(runner.outputs.iter().map(Tensor::to_bytes)) {
                return Ok(false);
            }
            runner.loadings.push([(exe, io)]);
        }
        Ok(true)
    }

    /// The estimate's choice against another. The other is faster only if its slowest loading is faster than the
    /// fastest of the estimate's choice, and so are the shortest of all times, which tell most of a machine
    /// where nothing else runs; otherwise the loadings in the middle are compared.
    pub(super) fn duel(&self, field: &mut [Runner], other: usize, budget: Duration) -> Result<Comparison> {
        let effort = Effort { budget, ..Effort::default() };
        let samples = self.time_loadings(field, &[0, other], &effort)?;
        Ok(decide(&samples[0], &samples[1]))
    }

    /// Times some of the field in turn, the first loading of each.
    pub(super) fn time(&self, field: &mut [Runner], which: &[usize], effort: &Effort) -> Result<()> {
        self.time_some(field, which, 1, effort).map(|_| ())
    }

    /// Times some of the field in turn, all loadings: for each the samples of all.
    pub(super) fn time_loadings(
        &self,
        field: &mut [Runner],
        which: &[usize],
        effort: &Effort,
    ) -> Result<Vec<Vec<Samples>>> {
        self.time_some(field, which, usize::MAX, effort)
    }

    fn time_some(
        &self,
        field: &mut [Runner],
        which: &[usize],
        loadings: usize,
        effort: &Effort,
    ) -> Result<Vec<Vec<Samples>>> {
        let (mut subjects, mut counts) = (Vec::new(), Vec::new());
        for (_, runner) in field.iter_mut().enumerate().filter(|(i, _)| which.contains(i)) {
            let (call, before) = (&runner.call, subjects.len());
            let some = runner.loadings.iter_mut().take(loadings);
            subjects.extend(some.map(|runs| Subject { runs, call, repeats: None }));
            counts.push(subjects.len() - before);
        }
        if subjects.is_empty() {
            return Ok(Vec::new());
        }
        let mut measured = self.measure(&mut subjects, effort)?.into_iter().map(|m| m.samples);
        let out: Vec<Vec<Samples>> =
            counts.into_iter().map(|count| measured.by_ref().take(count).collect()).collect();
        let chosen = field.iter_mut().enumerate().filter(|(i, _)| which.contains(i));
        for ((_, runner), of_all) in chosen.zip(&out) {
            runner.seconds = sorted(of_all)[of_all.len() / 2].median();
        }
        Ok(out)
    }
}

/// Loadings by their median times, the fastest first.
pub(super) fn sorted(loadings: &[Samples]) -> Vec<&Samples> {
    let mut sorted: Vec<&Samples> = loadings.iter().collect();
    sorted.sort_by(|a, b| a.median().total_cmp(&b.median()));
    sorted
}

/// What the times of all loadings of two say: see [`Gpu::duel`].
fn decide(first: &[Samples], second: &[Samples]) -> Comparison {
    let (a, b) = (sorted(first), sorted(second));
    // Of one sample each the slowest of one is below the fastest of the other soon enough, by chance.
    let fewest = first.iter().chain(second).map(|s| s.seconds().len()).min().unwrap_or(0);
    let enough = if a.len().min(b.len()) < LOADINGS { SAMPLES_OF_FEW } else { SAMPLES };
    let middle = compare(a[a.len() / 2], b[b.len() / 2], MARGIN);
    if fewest < enough {
        return Comparison { verdict: Verdict::TooNoisy, ..middle };
    }
    let surely = compare(a[0], b[b.len() - 1], MARGIN);
    let shortest = |of: &[Samples]| of.iter().map(Samples::min).fold(f64::INFINITY, f64::min);
    if surely.verdict == Verdict::Faster && shortest(second) * (1.0 + MARGIN) < shortest(first) {
        return surely;
    }
    let verdict = if middle.verdict == Verdict::Faster { Verdict::TooNoisy } else { middle.verdict };
    Comparison { verdict, ..middle }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loadings that take so long, each sample a little more than the last.
    fn few(samples: u32, seconds: &[f64]) -> Vec<Samples> {
        let of = |s: &f64| Samples::new((0..samples).map(|i| s * (1.0 + 1e-4 * f64::from(i))).collect());
        seconds.iter().map(of).collect()
    }

    fn loadings(seconds: &[f64]) -> Vec<Samples> {
        few(20, seconds)
    }

    #[test]
    fn a_few_samples_decide_nothing() {
        let said = |samples, loadings| {
            let of = |s| few(samples, &vec![s; loadings]);
            [decide(&of(1.0), &of(0.8)), decide(&of(1.0), &of(1.0)), decide(&of(1.0), &of(1.2))]
                .map(|c| c.verdict)
        };
        let known = [Verdict::Faster, Verdict::Same, Verdict::Slower];
        for (samples, loadings) in [(1, 2), (1, 4), (4, 4), (5, 2), (9, 2), (9, 3), (9, 1)] {
            assert_eq!(said(samples, loadings), [Verdict::TooNoisy; 3], "{samples} {loadings}");
        }
        for (samples, loadings) in [(5, 4), (10, 2), (10, 1)] {
            assert_eq!(said(samples, loadings), known, "{samples} {loadings}");
        }
    }

    #[test]
    fn a_lucky_loading_wins_nothing() {
        let said = |first: &[f64], second: &[f64]| decide(&loadings(first), &loadings(second)).verdict;
        assert_eq!(said(&[1.0; 3], &[0.8, 0.9, 0.85]), Verdict::Faster);
        // 0.41 or 0.74, against 0.6: whoever loads it has one or the other.
        assert_eq!(said(&[0.6; 4], &[0.41, 0.41, 0.74, 0.41]), Verdict::TooNoisy);
        assert_eq!(said(&[0.74, 0.74, 0.41, 0.74], &[0.6; 4]), Verdict::TooNoisy);
        assert_eq!(said(&[0.6; 4], &[0.41, 0.74, 0.74, 0.74]), Verdict::Slower);
        assert_eq!(said(&[1.0, 1.01], &[1.0, 0.99]), Verdict::Same);
        // What needs both cores of a machine is slow while something else has one, and is not so otherwise.
        let mut busy = loadings(&[0.74; 4]);
        busy[1].push(0.41);
        assert_eq!(decide(&busy, &loadings(&[0.6; 4])).verdict, Verdict::TooNoisy);
    }
}

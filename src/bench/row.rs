//! A row of a bench: one kernel at one shape, warm or cold, and what came of it.

use crate::bench::{Samples, rounds};
use crate::probe::Unit;

/// What was measured, or why nothing was.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Outcome {
    /// It is right, and this is how long it takes.
    Timed(Timed),
    /// It gives a wrong result, or another one each time, or its text is not valid: a sentence without its end.
    Wrong(String),
    /// It could not run here.
    Unable(String),
}

/// Times of a kernel that the judge accepted.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Timed {
    /// Seconds of one run, a sample each.
    pub seconds: Vec<f64>,
    /// How many of the samples each round has, in order. Rounds are seconds apart, and of buffers that fit a
    /// cache each has its own.
    pub rounds: Vec<usize>,
    /// How many of the rounds each sitting has, in order: the device was opened anew between them. Empty where
    /// nobody noted it.
    #[cfg_attr(feature = "json", serde(default))]
    pub sittings: Vec<usize>,
    /// The probe that binds it, measured in turn with it.
    pub beside: Option<Beside>,
    /// Operations that it must do at least.
    pub flops: f64,
    /// Bytes that it must read and write at least.
    pub bytes: f64,
    /// Which clock the seconds are by; if the host's, why.
    pub clock: String,
    /// Runs in each sample.
    pub repeats: u32,
    /// The largest error of an element, as a fraction of its allowance: at most 1.
    pub error: f64,
    /// What the bits of the results hash to.
    pub bits: String,
}

/// A probe that was measured in turn with a kernel.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Beside {
    /// Its name.
    pub probe: String,
    /// What it counts.
    pub unit: Unit,
    /// How much of that the kernel must do.
    pub asked: f64,
    /// How much of that a run of the probe does.
    pub work: f64,
    /// Seconds of a run of it: as many samples as there are of the kernel, in the same rounds.
    pub seconds: Vec<f64>,
    /// Runs in each sample.
    pub repeats: u32,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Row {
    /// What the shape is an example of.
    pub group: String,
    /// The op.
    pub op: String,
    /// The kernel.
    pub kernel: String,
    /// The shape as people read it.
    pub shape: String,
    /// The case that `check --case` runs again.
    pub case: String,
    /// Whether its data are more than any cache holds, in buffers that take turns.
    pub cold: bool,
    /// Whether it ran without checks.
    pub trusted: bool,
    /// Whether a plan for this device would take this kernel.
    pub chosen: bool,
    /// What came of it.
    pub outcome: Outcome,
}

impl Row {
    /// What rows of two runs are matched by.
    pub fn id(&self) -> String {
        let heat = if self.cold { "cold" } else { "warm" };
        format!("{} {heat}{}", self.case, if self.trusted { " trusted" } else { "" })
    }

    /// The times, if there are any.
    pub fn timed(&self) -> Option<&Timed> {
        match &self.outcome {
            Outcome::Timed(timed) => Some(timed),
            _ => None,
        }
    }

    /// Adds the rounds of the same row measured once more, if both were timed beside the same probe;
    /// otherwise takes its place.
    pub fn add(&mut self, again: Self) {
        if let (Outcome::Timed(ours), Outcome::Timed(theirs)) = (&mut self.outcome, &again.outcome) {
            let probe = |t: &Timed| t.beside.as_ref().map(|b| b.probe.clone());
            if probe(ours) == probe(theirs) && ours.watch() == theirs.watch() {
                ours.seconds.extend(&theirs.seconds);
                ours.rounds.extend(&theirs.rounds);
                ours.sittings.extend(&theirs.sittings);
                if let (Some(b), Some(more)) = (&mut ours.beside, &theirs.beside) {
                    b.seconds.extend(&more.seconds);
                }
                return;
            }
        }
        *self = again;
    }
}

impl Timed {
    /// Which clock it was timed by, without why.
    pub(crate) fn watch(&self) -> &'static str {
        if self.clock == "timestamps" { "timestamps" } else { "the wall clock" }
    }

    /// The seconds, to ask for medians.
    pub fn samples(&self) -> Samples {
        Samples::new(self.seconds.clone())
    }

    /// How near it comes to the probe that binds it: the median of sample by sample. Above 1 if the probe is
    /// not the bound that it was taken for, as where data fit a cache.
    pub fn fraction(&self) -> Option<f64> {
        let b = self.beside.as_ref()?;
        let of = |(s, p): (&f64, &f64)| (b.asked / s) / (b.work / p);
        Some(Samples::new(self.seconds.iter().zip(&b.seconds).map(of).collect()).median())
    }

    /// The shortest time of each round, and of the probe; without a probe, ones.
    pub(super) fn shortest(&self) -> [Vec<f64>; 2] {
        let of_probe = |b: &Beside| rounds::shortest(&b.seconds, &self.rounds);
        let ones = || vec![1.0; self.rounds.len()];
        [rounds::shortest(&self.seconds, &self.rounds), self.beside.as_ref().map_or_else(ones, of_probe)]
    }

    /// [`shortest`](Self::shortest) of each sitting, of the probe for each of what it counts. All rounds are of
    /// one where nobody noted it.
    pub(super) fn by_sitting(&self) -> Vec<[Vec<f64>; 2]> {
        let work = self.beside.as_ref().map_or(1.0, |b| b.work);
        let [mut kernel, mut probe] = self.shortest().map(Vec::into_iter);
        let all = [self.rounds.len()];
        let sittings = if self.sittings.is_empty() { &all[..] } else { &self.sittings };
        let mut one = |count: &usize| {
            [kernel.by_ref().take(*count).collect(), probe.by_ref().take(*count).map(|s| s / work).collect()]
        };
        sittings.iter().map(&mut one).collect()
    }

    /// A rate in what binds it: operations in a second, or bytes.
    pub fn rate(&self) -> (f64, Unit) {
        let by_work = self.beside.as_ref().is_some_and(|b| b.unit == Unit::Flops);
        let (work, unit) = if by_work { (self.flops, Unit::Flops) } else { (self.bytes, Unit::Bytes) };
        (work / self.samples().median(), unit)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn row(seconds: &[f64], beside: &[f64]) -> Row {
        let beside = Beside {
            probe: "probe.fma".into(),
            unit: Unit::Flops,
            asked: 50.0,
            work: 100.0,
            seconds: beside.to_vec(),
            repeats: 1,
        };
        let timed = Timed {
            seconds: seconds.to_vec(),
            rounds: vec![1; seconds.len()],
            sittings: Vec::new(),
            beside: Some(beside),
            flops: 50.0,
            bytes: 10.0,
            clock: "timestamps".into(),
            repeats: 1,
            error: 0.25,
            bits: "0123".into(),
        };
        Row {
            group: "square".into(),
            op: "matmul".into(),
            kernel: "matmul.tile".into(),
            shape: "f32.f32 M=1".into(),
            case: "matmul.tile/f32.f32/plain/M=1/random".into(),
            cold: false,
            trusted: false,
            chosen: true,
            outcome: Outcome::Timed(timed),
        }
    }

    #[test]
    fn a_fraction_is_of_what_was_measured_beside() {
        // The machine was half as fast for the second sample, for both.
        let row = row(&[1.0, 2.0, 1.0], &[1.0, 2.0, 1.0]);
        let timed = row.timed().unwrap();
        assert_eq!((timed.fraction(), timed.rate()), (Some(0.5), (50.0, Unit::Flops)));
        assert_eq!(row.id(), "matmul.tile/f32.f32/plain/M=1/random warm");
    }

    #[test]
    fn rounds_are_added_to_those_of_the_same_probe() {
        let mut first = row(&[1.0], &[1.0]);
        first.add(row(&[3.0], &[2.0]));
        let timed = first.timed().unwrap();
        assert_eq!((&timed.seconds[..], &timed.rounds[..]), (&[1.0, 3.0][..], &[1, 1][..]));
        assert_eq!(timed.shortest(), [[1.0, 3.0], [1.0, 2.0]]);
        let mut other = row(&[4.0], &[1.0]);
        if let Outcome::Timed(timed) = &mut other.outcome {
            timed.beside = None;
        }
        first.add(other);
        assert_eq!(first.timed().unwrap().seconds, [4.0]);
        let wrong = Row { outcome: Outcome::Wrong("off".into()), ..first.clone() };
        first.add(wrong.clone());
        assert_eq!(first, wrong);
    }
}

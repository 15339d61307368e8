//! The rounds of rows. What slows a machine down lasts for seconds as often as for milliseconds, so a row is not
//! measured at once: the entries of a window take turns, and every round of a row is of other seconds.

use std::sync::Arc;

use super::{Bench, Right, row};
use crate::bench::{Beside, Demand, Entry, Outcome, Row, Timed};
use crate::dim::Call;
use crate::error::Result;
use crate::gpu::{Effort, Measured, Subject, Watch};
use crate::probe::Probe;
use crate::tune::Trial;

/// An entry whose turn comes again and again.
pub(super) struct Standing<'a> {
    pub(super) entry: &'a Entry,
    pub(super) trial: Arc<Trial>,
    /// With and without checks.
    pub(super) right: Vec<Right>,
    pub(super) heats: Vec<Heat>,
    /// The rounds of each sitting.
    pub(super) sittings: Vec<usize>,
    /// Whether it has all the rounds that it will have.
    pub(super) over: bool,
    /// What could not be timed.
    pub(super) failed: Vec<Row>,
}

/// What is known of an entry warm, or cold.
pub(super) struct Heat {
    cold: bool,
    demand: Demand,
    pub(super) beside: Option<(Probe, f64)>,
    /// Runs in a sample, of the probe and of the kernels, as far as that is settled.
    repeats: Vec<u32>,
    /// Of the probe and of every kernel, what was measured in each round.
    taken: Vec<Vec<Measured>>,
}

impl Bench {
    pub(super) fn heat(&mut self, entry: &Entry, demand: Demand, cold: bool) -> Result<Heat> {
        let id = row(entry, cold, false, Outcome::Wrong(String::new())).id();
        let beside = self.beside(&id, &demand, cold);
        let mut repeats = Vec::new();
        if let Some((probe, _)) = &beside {
            self.load_beside(probe)?;
            if let Some((before, of_both)) = self.preferred.get(&id)
                && before == probe.name
            {
                // Without checks as with them.
                repeats = [&of_both[..], &of_both[1..]].concat();
            }
        }
        Ok(Heat { cold, demand, beside, repeats, taken: Vec::new() })
    }

    /// Loads a probe, unless it is there, as often as rounds have buffers of their own: or once, if its data
    /// take turns beyond any cache.
    pub(super) fn load_beside(&mut self, probe: &Probe) -> Result<()> {
        if self.loaded.contains_key(probe.name) {
            return Ok(());
        }
        let once = Effort { warmup: 0, least: 1, most: 1, ..self.options.effort };
        let load = |_| {
            let mut runs = self.gpu.load_probe(probe)?;
            let subject = Subject { runs: &mut runs, call: &Call::default(), repeats: Some(1) };
            self.gpu.measure(&mut [subject], &once)?;
            Ok(runs)
        };
        let copies = if probe.copies > 1 { 1 } else { self.near() };
        let copies = (0..copies).map(load).collect::<Result<_>>()?;
        self.loaded.insert(probe.name, copies);
        Ok(())
    }

    /// Times an entry's kernels in turn with the probe that binds them: warm, with the buffers of the round,
    /// and cold, with all in turn.
    pub(super) fn visit(&mut self, standing: &mut Standing<'_>, round: usize) -> Result<()> {
        let nothing = Call::default();
        let effort = share(&self.options.effort, self.options.rounds.max(1));
        for heat in &mut standing.heats {
            let repeats = |i: usize| heat.repeats.get(i).copied();
            let mut subjects = Vec::new();
            if let Some(copies) = heat.beside.as_ref().and_then(|(p, _)| self.loaded.get_mut(p.name)) {
                let at = round % copies.len();
                subjects.push(Subject { runs: &mut copies[at], call: &nothing, repeats: repeats(0) });
            }
            let call = &standing.trial.call;
            for kernel in &mut standing.right {
                let at = round % kernel.runs.len();
                let runs = if heat.cold { &mut kernel.runs[..] } else { &mut kernel.runs[at..=at] };
                subjects.push(Subject { runs, call, repeats: repeats(subjects.len()) });
            }
            let measured = self.gpu.measure_in_turn(&mut subjects, &effort, false)?;
            heat.repeats = measured.iter().map(|m| m.repeats).collect();
            heat.taken.resize_with(measured.len(), Vec::new);
            heat.taken.iter_mut().zip(measured).for_each(|(taken, m)| taken.push(m));
        }
        Ok(())
    }
}

/// What a round may take of an effort.
fn share(effort: &Effort, rounds: u32) -> Effort {
    let (least, most) = (effort.least.div_ceil(rounds), effort.most.div_ceil(rounds));
    Effort { least, most, budget: effort.budget / rounds, ..*effort }
}

impl<'a> Standing<'a> {
    pub(super) fn new(entry: &'a Entry, trial: Arc<Trial>) -> Self {
        Self {
            entry,
            trial,
            right: Vec::new(),
            heats: Vec::new(),
            sittings: Vec::new(),
            over: false,
            failed: Vec::new(),
        }
    }

    /// Takes a kernel out, with what was measured of it.
    pub(super) fn fail(&mut self, kernel: usize, why: Outcome) {
        let Right { trusted, .. } = self.right.remove(kernel);
        for heat in &mut self.heats {
            let at = kernel + usize::from(heat.beside.is_some());
            heat.repeats.drain(at.min(heat.repeats.len())..(at + 1).min(heat.repeats.len()));
            heat.taken.drain(at.min(heat.taken.len())..(at + 1).min(heat.taken.len()));
        }
        self.failed.push(row(self.entry, false, trusted, why));
    }

    /// Bytes of all of its buffers.
    pub(super) fn bytes(&self) -> u64 {
        self.right.iter().flat_map(|r| &r.runs).map(|(exe, _)| exe.plan().peak_bytes).sum()
    }

    pub(super) fn rows(self) -> Vec<Row> {
        let mut rows = self.failed;
        for heat in &self.heats {
            for (kernel, timed) in self.right.iter().zip(heat.timed(&self.right)) {
                let timed = Timed { sittings: self.sittings.clone(), ..timed };
                rows.push(row(self.entry, heat.cold, kernel.trusted, Outcome::Timed(timed)));
            }
        }
        rows.sort_by_key(|r| (r.cold, r.trusted));
        rows
    }
}

impl Heat {
    fn timed(&self, right: &[Right]) -> Vec<Timed> {
        let (probe, kernels) = self.taken.split_at(usize::from(self.beside.is_some()));
        let by_wall = kernels.iter().flatten().find(|m| m.watch != Watch::Timestamps);
        let watch = by_wall.map_or(Watch::Timestamps, |m| m.watch.clone());
        let beside = self.beside.as_ref().zip(probe.first()).map(|((probe, asked), taken)| Beside {
            probe: probe.name.into(),
            unit: probe.unit,
            asked: *asked,
            work: probe.work,
            seconds: joined(taken, &watch),
            repeats: repeats(taken),
        });
        let one = |(kernel, taken): (&Right, &Vec<Measured>)| Timed {
            seconds: joined(taken, &watch),
            rounds: taken.iter().map(|m| m.wall.seconds().len()).collect(),
            sittings: Vec::new(),
            beside: beside.clone(),
            flops: self.demand.flops,
            bytes: self.demand.bytes(),
            clock: match &watch {
                Watch::Timestamps => "timestamps".into(),
                Watch::Wall(why) => format!("wall clock: {why}"),
            },
            repeats: repeats(taken),
            error: kernel.error,
            bits: kernel.bits.clone(),
        };
        right.iter().zip(kernels).map(one).collect()
    }
}

/// The samples of all rounds, by one clock.
fn joined(rounds: &[Measured], watch: &Watch) -> Vec<f64> {
    let of = |m: &Measured| if *watch == Watch::Timestamps { m.samples.clone() } else { m.wall.clone() };
    rounds.iter().flat_map(|m| of(m).seconds().to_vec()).collect()
}

/// Runs in each sample, which are the same in all.
fn repeats(rounds: &[Measured]) -> u32 {
    rounds.first().map_or(1, |m| m.repeats)
}

//! The rounds of a row: what a process decides once, where buffers lie, is decided anew in each.

use super::{Bench, Group, Right, row};
use crate::bench::{Beside, Demand, Outcome, Row, Timed};
use crate::dim::Call;
use crate::error::Result;
use crate::gpu::{Effort, Measured, Subject, Watch};
use crate::probe::Probe;

impl Bench {
    /// Times kernels in turn with the probe that binds them: warm, in each round with other buffers, of the
    /// probe too; cold, with all in turn.
    pub(super) fn timed(&mut self, group: &Group<'_>, right: &mut [Right], call: &Call) -> Result<Vec<Row>> {
        let beside = self.beside(group);
        if let Some((probe, _)) = &beside {
            self.load_beside(probe)?;
        }
        let (rounds, nothing) = (self.options.rounds.max(1), Call::default());
        let effort = share(&self.options.effort, rounds);
        let mut all: Vec<Vec<Measured>> = Vec::new();
        for round in 0..rounds as usize {
            let repeats = |i: usize| all.get(i).and_then(|m| m.first()).map(|m| m.repeats);
            let mut subjects = Vec::new();
            if let Some(copies) = beside.as_ref().and_then(|(probe, _)| self.loaded.get_mut(probe.name)) {
                let at = round % copies.len();
                subjects.push(Subject { runs: &mut copies[at], call: &nothing, repeats: repeats(0) });
            }
            for kernel in right.iter_mut() {
                let at = round % kernel.runs.len();
                let runs = if group.cold { &mut kernel.runs[..] } else { &mut kernel.runs[at..=at] };
                subjects.push(Subject { runs, call, repeats: repeats(subjects.len()) });
            }
            let measured = self.gpu.measure_in_turn(&mut subjects, &effort, false)?;
            all.resize_with(measured.len(), Vec::new);
            all.iter_mut().zip(measured).for_each(|(all, one)| all.push(one));
        }
        let of_kernels = all.split_off(usize::from(beside.is_some()));
        let by_wall = of_kernels.iter().flatten().find(|m| m.watch != Watch::Timestamps);
        let watch = by_wall.map_or(Watch::Timestamps, |m| m.watch.clone());
        let beside = beside.zip(all.pop()).map(|((probe, asked), m)| Beside {
            probe: probe.name.into(),
            unit: probe.unit,
            asked,
            work: probe.work,
            seconds: joined(&m, &watch),
        });
        let rows = right.iter().zip(&of_kernels).map(|(kernel, m)| {
            let outcome = Outcome::Timed(timed(kernel, m, &watch, &group.demand, beside.clone()));
            row(group.entry, group.cold, kernel.trusted, outcome)
        });
        Ok(rows.collect())
    }

    /// Loads a probe for each round, unless it is there: or once, if its data take turns beyond any cache.
    fn load_beside(&mut self, probe: &Probe) -> Result<()> {
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
        let copies = if probe.copies > 1 { 1 } else { self.options.rounds.max(1) };
        let copies = (0..copies).map(load).collect::<Result<_>>()?;
        self.loaded.insert(probe.name, copies);
        Ok(())
    }
}

/// What a round may take of an effort.
fn share(effort: &Effort, rounds: u32) -> Effort {
    let (least, most) = (effort.least.div_ceil(rounds), effort.most.div_ceil(rounds));
    Effort { least, most, budget: effort.budget / rounds, ..*effort }
}

/// The samples of all rounds, by one clock.
fn joined(rounds: &[Measured], watch: &Watch) -> Vec<f64> {
    let of = |m: &Measured| if *watch == Watch::Timestamps { m.samples.clone() } else { m.wall.clone() };
    rounds.iter().flat_map(|m| of(m).seconds().to_vec()).collect()
}

fn timed(kernel: &Right, m: &[Measured], watch: &Watch, demand: &Demand, beside: Option<Beside>) -> Timed {
    Timed {
        seconds: joined(m, watch),
        rounds: m.iter().map(|m| m.wall.seconds().len()).collect(),
        beside,
        flops: demand.flops,
        bytes: demand.bytes(),
        clock: match watch {
            Watch::Timestamps => "timestamps".into(),
            Watch::Wall(why) => format!("wall clock: {why}"),
        },
        repeats: m.first().map_or(1, |m| m.repeats),
        error: kernel.error,
        bits: kernel.bits.clone(),
    }
}

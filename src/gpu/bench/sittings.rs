//! The sittings of a bench. Where pipelines and buffers came to lie, and what else a driver settles once, is luck
//! that lasts as long as a device is open: all rounds of a row are then fast, or all slow. So some rounds are
//! taken, then the device is opened anew, everything is loaded again, and the next are taken.

use std::time::{Duration, Instant};

use super::rounds::Standing;
use super::{Bench, bits, outputs};
use crate::bench::Outcome;
use crate::error::Result;

/// How many times as long as the rounds of a sitting its loading may take: some drivers compile for minutes.
const PATIENCE: u32 = 3;

impl Bench {
    /// All rounds of what is loaded. Where loading takes much longer than measuring there is one more sitting.
    pub(super) fn sit(&mut self, window: &mut [Standing<'_>]) -> Result<()> {
        let rounds = self.options.rounds.max(1) as usize;
        let (mut done, mut left) = (0, self.options.sittings.max(1) as usize);
        let mut measuring = Duration::ZERO;
        self.used = true;
        while done < rounds {
            if done > 0 {
                let begun = Instant::now();
                self.begin_anew(window)?;
                left = if begun.elapsed() > PATIENCE * measuring { 1 } else { left };
            }
            let (own, begun) = (done..done + (rounds - done).div_ceil(left), Instant::now());
            (done, left) = (own.end, (left - 1).max(1));
            let open = |standing: &&mut Standing<'_>| !standing.over;
            window.iter_mut().filter(open).for_each(|standing| standing.sittings.push(own.len()));
            for round in own {
                window.iter_mut().filter(open).try_for_each(|standing| self.visit(standing, round))?;
            }
            measuring = begun.elapsed();
        }
        Ok(())
    }

    /// Opens the device anew, unless it was handed over, and loads what was loaded.
    pub(super) fn begin_anew(&mut self, window: &mut [Standing<'_>]) -> Result<()> {
        window.iter_mut().flat_map(|s| &mut s.right).for_each(|kernel| kernel.runs.clear());
        self.loaded.clear();
        if let Some(gpu) = self.gpu.reopened()? {
            self.gpu = gpu;
        }
        window.iter_mut().filter(|standing| !standing.over).try_for_each(|standing| self.reload(standing))
    }

    /// Loads an entry's kernels and probes once more. If there is no room for one any more, the rounds that the
    /// entry has are all.
    fn reload(&mut self, standing: &mut Standing<'_>) -> Result<()> {
        let mut at = 0;
        while at < standing.right.len() {
            match self.again(standing, at)? {
                None => at += 1,
                Some(Outcome::Unable(_)) => {
                    standing.over = true;
                    standing.right.iter_mut().for_each(|kernel| kernel.runs.clear());
                    return Ok(());
                }
                Some(why) => standing.fail(at, why),
            }
        }
        for probe in standing.heats.iter().filter_map(|heat| heat.beside.as_ref()).map(|(probe, _)| probe) {
            self.load_beside(probe)?;
        }
        Ok(())
    }

    /// Loads all copies of a kernel that was right, or says why it has no rows after all. What gives the bits
    /// that were judged is right; what gives others is judged.
    fn again(&self, standing: &mut Standing<'_>, at: usize) -> Result<Option<Outcome>> {
        let (entry, trial, kernel) = (standing.entry, &*standing.trial, &mut standing.right[at]);
        let mut run = match self.first(entry, trial, kernel.trusted)? {
            Ok(run) => run,
            Err(why) => return Ok(Some(why)),
        };
        let outputs = outputs(&mut run.0, trial)?;
        if bits(&outputs) != kernel.bits {
            match trial.worst(&outputs) {
                Ok(error) => kernel.error = kernel.error.max(error),
                Err(why) => return Ok(Some(Outcome::Wrong(format!("on the device opened anew {why}")))),
            }
        }
        kernel.runs.push(run);
        let (copies, kernel) = (kernel.copies, std::slice::from_mut(kernel));
        Ok(self.more(kernel, entry, trial, copies, false)?.map(|row| row.outcome))
    }
}

//! How long a bench measures, and what.

use std::time::Duration;

use crate::gpu::Effort;

/// The least that a sample takes: a probe's must not be noisier than a kernel's.
const SAMPLE: Duration = Duration::from_millis(4);

/// How a bench measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BenchOptions {
    /// How long, for each row: all of its rounds.
    pub effort: Effort,
    /// In how many rounds, seconds apart: what two runs are compared by. One is taken if it is 0.
    pub rounds: u32,
    /// In how many sittings the rounds are taken: each with the device opened anew, with pipelines, buffers and
    /// probes of its own. Where those came to lie is luck that lasts as long as they do, and a run of several
    /// sittings does not hang on one of them. A device that was handed over stays open, and all else is
    /// made anew. One is taken if it is 0.
    pub sittings: u32,
    /// Which kernels also run with data that no cache holds: copies of their buffers take turns.
    pub cold: Cold,
    /// Whether each also runs without checks, in turn with the checked one, once that is judged right.
    pub trusted: bool,
}

/// What is measured cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cold {
    /// Nothing.
    Nothing,
    /// What memory binds, if a cache could hold it: elsewhere cold says little that warm does not.
    WhereItTells,
    /// All that has data enough.
    All,
}

impl Default for BenchOptions {
    /// A second and a half for each row and the probe beside it.
    fn default() -> Self {
        let effort = Effort { least: 40, most: 160, sample: SAMPLE, ..Effort::default() };
        Self { effort, rounds: 24, sittings: 8, cold: Cold::All, trusted: false }
    }
}

impl BenchOptions {
    /// Enough to see a tenth on a quiet machine: half a second for each row and its probe.
    pub fn quick() -> Self {
        let (least, most, noise, budget) = (20, 60, 0.005, Duration::from_millis(500));
        let effort = Effort { least, most, noise, budget, sample: SAMPLE, ..Effort::quick() };
        Self { effort, cold: Cold::WhereItTells, ..Self::default() }
    }
}

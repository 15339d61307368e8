//! A bench: kernels that the judge accepts, timed in turn with the probe that binds them. Like all
//! measuring this submits and waits, on a device that was handed over too.

use std::collections::BTreeMap;
use std::time::Duration;

use pollster::block_on;

use crate::bench::{Demand, Entry, Outcome, Row};
use crate::check::Case;
use crate::error::{Error, Result};
use crate::gpu::{Effort, Executable, Gpu, Io, Reading};
use crate::kernel::source::is_replaced;
use crate::plan::prepare::Weights;
use crate::plan::{Numerics, Plan, Policy, Trusted, plan};
use crate::probe::{self, Probe, cold_bytes};
use crate::profile::{DeviceKind, Profile};
use crate::tensor::Tensor;
use crate::tune::Trial;

mod rounds;

/// The most copies of a case's buffers that take turns; what would need more is not measured cold.
const MOST_COPIES: u64 = 256;
/// The least that a sample takes: a probe's must not be noisier than a kernel's.
const SAMPLE: Duration = Duration::from_millis(4);
/// Buffers that take up no more than this in all may be there once for each round.
const ROUNDS_BYTES: u64 = 1 << 30;
/// Weights of fewer bytes are the same in every copy: they are next to nothing.
const SMALL: usize = 1 << 16;

/// How a bench measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BenchOptions {
    /// How long, for each row: all of its rounds.
    pub effort: Effort,
    /// In how many rounds, each with buffers of its own: what two runs are compared by. One is taken if it is 0.
    pub rounds: u32,
    /// Whether each kernel also runs with data that no cache holds: copies of its buffers take turns.
    pub cold: bool,
    /// Whether each also runs without checks, in turn with the checked one, once that is judged right.
    pub trusted: bool,
}

impl Default for BenchOptions {
    /// A second and a half for each row and the probe beside it.
    fn default() -> Self {
        Self { effort: Effort { sample: SAMPLE, ..Effort::default() }, rounds: 8, cold: true, trusted: false }
    }
}

impl BenchOptions {
    /// Enough to see a tenth on a quiet machine: half a second for each row and its probe.
    pub fn quick() -> Self {
        let (least, most, noise, budget) = (7, 60, 0.005, Duration::from_millis(500));
        let effort = Effort { least, most, noise, budget, sample: SAMPLE, ..Effort::quick() };
        Self { effort, ..Self::default() }
    }
}

/// A bench of one device: its probes, loaded, and what they reached.
#[derive(Debug)]
pub struct Bench {
    gpu: Gpu,
    options: BenchOptions,
    readings: Vec<Reading>,
    probes: Vec<Probe>,
    /// Probes that were beside a row, ready for the next: one for each round, or one for all.
    loaded: BTreeMap<&'static str, Vec<Vec<(Executable, Io)>>>,
    /// Which probe is to be beside a row, by the row's id: the one that was there before.
    preferred: BTreeMap<String, String>,
    /// Inputs and answer of the last shape: of the case's name without kernel, and the class.
    last: Option<(String, Numerics, Trial)>,
}

impl Gpu {
    /// Measures the probes; `tell` hears of each as it is known.
    ///
    /// **Submits, and waits, on a device that was handed over too.**
    ///
    /// # Errors
    /// As [`probe`](Self::probe).
    pub fn bench(&self, options: BenchOptions, tell: &mut dyn FnMut(&Reading)) -> Result<Bench> {
        let readings = self.probe(&options.effort, tell)?;
        let probes = probe::all(self.profile()).into_iter().filter_map(Result::ok).collect();
        let (loaded, preferred) = Default::default();
        Ok(Bench { gpu: self.clone(), options, readings, probes, loaded, preferred, last: None })
    }
}

/// A kernel with and without checks, at one heat.
struct Group<'a> {
    entry: &'a Entry,
    demand: Demand,
    cold: bool,
}

/// A kernel that is right.
struct Right {
    trusted: bool,
    /// The first alone is warm; all in turn are cold.
    runs: Vec<(Executable, Io)>,
    error: f64,
    bits: String,
}

impl Bench {
    /// What the probes reached.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// Lets the probes that were beside these rows be beside them again, so that the times of two runs are
    /// multiples of the same.
    pub fn prefer_those_of(&mut self, rows: &[Row]) {
        let probe = |row: &Row| Some((row.id(), row.timed()?.beside.as_ref()?.probe.clone()));
        self.preferred.extend(rows.iter().filter_map(probe));
    }

    /// Measures one entry of the suite: a row warm, one cold if its data are large enough, and both again
    /// without checks if that is wanted. All are right, or there is one row that says what is not: the
    /// judge holds every element of every result against the reference, and a second run must give the
    /// same bits, before anything is timed.
    ///
    /// **Submits, and waits, on a device that was handed over too.**
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; those of building the entry's case.
    pub fn rows(&mut self, entry: &Entry) -> Result<Vec<Row>> {
        let trial = self.trial(entry)?;
        let mut made = self.rows_of(entry, &trial);
        let name = shape_name(entry);
        self.last = Some((name, entry.kernel.numerics, trial));
        if let Ok(rows) = &mut made {
            rows.sort_by_key(|r| (r.cold, r.trusted));
        }
        made
    }

    fn trial(&mut self, entry: &Entry) -> Result<Trial> {
        let name = shape_name(entry);
        match self.last.take() {
            Some((last, numerics, trial)) if last == name && numerics == entry.kernel.numerics => Ok(trial),
            _ => entry.task.trial(entry.kernel),
        }
    }

    fn rows_of(&mut self, entry: &Entry, trial: &Trial) -> Result<Vec<Row>> {
        let mut right = match self.enter(entry, trial, false)? {
            Ok(right) => vec![right],
            Err(outcome) => return Ok(vec![row(entry, false, false, outcome)]),
        };
        let mut rows = Vec::new();
        if self.options.trusted {
            match self.enter(entry, trial, true)? {
                Ok(also) => right.push(also),
                Err(outcome) => rows.push(row(entry, false, true, outcome)),
            }
        }
        let (shape, numerics) = (&entry.task.shape, entry.kernel.numerics);
        let demand = Demand::of(entry.task.op, shape, numerics, &trial.graph);
        let held = right[0].runs[0].0.plan().peak_bytes.max(1);
        let each = u64::from(self.options.rounds).min(ROUNDS_BYTES / held);
        let copies = cold_bytes(self.gpu.profile()).div_ceil(held);
        let heats = [(false, each), (true, copies)];
        let is_cold = self.options.cold && copies <= MOST_COPIES;
        for (cold, copies) in heats.into_iter().take(if is_cold { 2 } else { 1 }) {
            if let Some(failed) = self.more(&mut right, entry, trial, copies, cold)? {
                rows.push(failed);
                return Ok(rows);
            }
            rows.extend(self.timed(&Group { entry, demand, cold }, &mut right, &trial.call)?);
        }
        Ok(rows)
    }

    /// Loads kernels until there are so many copies of each, or gives the row that says what it is that failed.
    fn more(
        &self,
        right: &mut [Right],
        entry: &Entry,
        trial: &Trial,
        copies: u64,
        cold: bool,
    ) -> Result<Option<Row>> {
        for kernel in right {
            for copy in kernel.runs.len() as u64..copies {
                match self.load(entry, trial, kernel.trusted, copy) {
                    Ok(run) => kernel.runs.push(run),
                    Err(e @ Error::DeviceLost(_)) => return Err(e),
                    Err(e) => {
                        let why = Outcome::Unable(format!("{copies} copies of its buffers: {e}"));
                        return Ok(Some(row(entry, cold, kernel.trusted, why)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Loads a kernel, runs it twice and judges it.
    fn enter(&self, entry: &Entry, trial: &Trial, trusted: bool) -> Result<Result<Right, Outcome>> {
        if trusted && is_replaced() {
            return Ok(Err(Outcome::Unable(
                "a shader's text is not the library's: it is not trusted".into(),
            )));
        }
        let mut run = match self.load(entry, trial, trusted, 0) {
            Ok(run) => run,
            Err(e @ (Error::DeviceLost(_) | Error::Shape(_) | Error::Argument(_))) => return Err(e),
            Err(e @ Error::Validation(_)) => {
                return Ok(Err(Outcome::Wrong(format!("it does not load: {e}"))));
            }
            Err(e) => return Ok(Err(Outcome::Unable(e.to_string()))),
        };
        let outputs = outputs(&mut run.0, trial)?;
        let error = match trial.worst(&outputs) {
            Ok(error) => error,
            Err(why) => return Ok(Err(Outcome::Wrong(why))),
        };
        let bits = bits(&outputs);
        if bits != self::bits(&self::outputs(&mut run.0, trial)?) {
            return Ok(Err(Outcome::Wrong("two runs gave other bits".into())));
        }
        Ok(Ok(Right { trusted, runs: vec![run], error, bits }))
    }

    /// Loads a kernel with inputs in its buffers. Each copy has other weights, since what is the same is
    /// loaded once.
    fn load(&self, entry: &Entry, trial: &Trial, trusted: bool, copy: u64) -> Result<(Executable, Io)> {
        let profile = Profile { tuning: None, ..self.gpu.profile().clone() };
        // The library vouches for its own texts, and for inputs that it made itself.
        let (trusted, kernel) = (Trusted(trusted), Some(entry.kernel.name.to_owned()));
        let policy = Policy { kernel, trusted, numerics: entry.kernel.numerics, ..entry.task.policy.clone() };
        let plan = plan(&trial.graph, &profile, &policy)?;
        let weights = if copy == 0 { trial.tensors.clone() } else { turned(&plan, &trial.tensors, copy)? };
        let mut exe = self.gpu.load_blocking(&plan, &weights, Default::default())?;
        let io = block_on(exe.own_io())?;
        // Writes the inputs, and touches the rest.
        if copy > 0 {
            outputs(&mut exe, trial)?;
        }
        Ok((exe, io))
    }

    /// The probe to measure with a kernel, and how much of what it counts the kernel must do.
    fn beside(&self, group: &Group<'_>) -> Option<(Probe, f64)> {
        // Warm or not, what is far larger than what the cached probes hold comes from memory.
        let near = if self.gpu.profile().kind == DeviceKind::Cpu { 8 << 20 } else { 32 << 20 };
        let cached = !group.cold && group.demand.bytes() <= f64::from(near);
        let rate = |name: &str| self.readings.iter().find(|r| r.name == name)?.value.clone().ok();
        let id = row(group.entry, group.cold, false, Outcome::Wrong(String::new())).id();
        let asked = group.demand.asked(cached);
        let before = self.preferred.get(&id).and_then(|name| asked.iter().find(|(n, _)| n == name).copied());
        let (name, asked) = before.or_else(|| group.demand.binding(cached, rate))?;
        self.probes.iter().find(|p| p.name == name).map(|p| (p.clone(), asked))
    }
}

fn row(entry: &Entry, cold: bool, trusted: bool, outcome: Outcome) -> Row {
    let case = case(entry);
    Row {
        group: entry.group.into(),
        op: entry.task.op.name.into(),
        kernel: entry.kernel.name.into(),
        shape: shape_name(entry),
        case: case.to_string(),
        cold,
        trusted,
        chosen: entry.chosen,
        outcome,
    }
}

fn case(entry: &Entry) -> Case {
    entry.task.case(entry.kernel)
}

/// What the kernels of a shape have in common, as people read it: `matmul f32.q8_0 M=1,N=64,K=64`.
fn shape_name(entry: &Entry) -> String {
    let case = case(entry);
    let (plan, op) = (case.plan_name(), entry.task.op);
    let mut parts: Vec<&str> = plan.rsplit('/').take(3).collect();
    parts.swap(0, 2);
    if op.cases.variants.get(entry.task.shape.variant).is_none_or(|v| ["plain", "full"].contains(v)) {
        parts.remove(1);
    }
    format!("{} {}", op.name, parts.join(" "))
}

fn outputs(exe: &mut Executable, trial: &Trial) -> Result<Vec<Tensor>> {
    let is_input = |name: &&String| exe.plan().inputs.iter().any(|p| p.name == **name);
    let inputs: Vec<(&str, &Tensor)> =
        trial.tensors.iter().filter(|(name, _)| is_input(name)).map(|(n, t)| (n.as_str(), t)).collect();
    exe.run_blocking(&inputs, &trial.call)
}

/// FNV-1a over all bytes of all outputs, 64 bits, as text.
fn bits(outputs: &[Tensor]) -> String {
    let step = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
    let hash = outputs.iter().fold(0xcbf2_9ce4_8422_2325, |h, t| t.to_bytes().iter().fold(h, step));
    format!("{hash:016x}")
}

/// The tensors with the rows of large weights turned by `by`: as random as before, and other bytes.
fn turned(plan: &Plan, tensors: &Weights, by: u64) -> Result<Weights> {
    let is_weight = |name: &String| plan.weights.iter().any(|w| w.sources.iter().any(|s| s.name == *name));
    let mut out = Weights::new();
    for (name, tensor) in tensors.iter().filter(|(name, _)| is_weight(name)) {
        let mut bytes = tensor.to_bytes();
        let rows = tensor.shape().first().copied().unwrap_or(1).max(1);
        if bytes.len() >= SMALL {
            let row = bytes.len() / rows;
            bytes.rotate_left(by as usize % rows * row);
        }
        out.insert(name.clone(), Tensor::new(tensor.dtype(), tensor.shape(), bytes)?);
    }
    Ok(out)
}

//! A bench: kernels that the judge accepts, timed in turn with the probe that binds them. Like all
//! measuring this submits and waits, on a device that was handed over too.

use std::collections::BTreeMap;
use std::sync::Arc;

use pollster::block_on;

use crate::bench::{Demand, Entry, Outcome, Row};
use crate::check::Case;
use crate::error::{Error, Result};
use crate::gpu::{Executable, Gpu, Io, Reading};
use crate::kernel::source::is_replaced;
use crate::plan::prepare::Weights;
use crate::plan::{Numerics, Plan, Policy, Trusted, plan};
use crate::probe::{self, Probe, cold_bytes};
use crate::profile::{DeviceKind, Profile};
use crate::tensor::Tensor;
use crate::tune::Trial;

mod options;
mod rounds;
mod sittings;

pub use options::{BenchOptions, Cold};
use rounds::Standing;

/// The most copies of a case's buffers that take turns; what would need more is not measured cold.
const MOST_COPIES: u64 = 256;
/// The most copies of a case's buffers of which every round takes another, warm: of all sittings together.
const MOST_NEAR: u64 = 8;
/// Entries are measured in turn until what they hold in all is more than this.
const WINDOW_BYTES: u64 = 4 << 30;
/// Weights of fewer bytes are the same in every copy: they are next to nothing.
const SMALL: usize = 1 << 16;

/// A bench of one device: its probes, loaded, and what they reached.
#[derive(Debug)]
pub struct Bench {
    gpu: Gpu,
    options: BenchOptions,
    readings: Vec<Reading>,
    probes: Vec<Probe>,
    /// Probes that were beside a row, ready for the next: one for each round, or one for all.
    loaded: BTreeMap<&'static str, Vec<Vec<(Executable, Io)>>>,
    /// Which probe is to be beside a row, by the row's id, and how many runs are in the samples of both: as
    /// it was before.
    preferred: BTreeMap<String, (String, [u32; 2])>,
    /// Inputs and answer of the last shape: of the case's name without kernel, and the class.
    last: Option<(String, Numerics, Arc<Trial>)>,
    /// Whether rows were measured since the device was opened.
    used: bool,
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
        let gpu = self.clone();
        Ok(Bench { gpu, options, readings, probes, loaded, preferred, last: None, used: false })
    }
}

/// A kernel that is right.
struct Right {
    trusted: bool,
    /// One alone is warm; all in turn are cold.
    runs: Vec<(Executable, Io)>,
    /// How many of them there are, also while none is loaded.
    copies: u64,
    error: f64,
    bits: String,
}

impl Bench {
    /// What the probes reached.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// Lets the probes that were beside these rows be beside them again, and as many runs be in a sample, so
    /// that the times of two runs are multiples of the same. Of a few runs the first, which finds other data in
    /// the caches, is a larger part.
    pub fn prefer_those_of(&mut self, rows: &[Row]) {
        let before = |row: &Row| {
            let timed = row.timed()?;
            let beside = timed.beside.as_ref()?;
            Some((row.id(), (beside.probe.clone(), [beside.repeats, timed.repeats])))
        };
        self.preferred.extend(rows.iter().filter_map(before));
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
        let mut out = Vec::new();
        self.rows_in_turn(std::slice::from_ref(entry), &mut |_, rows| out.extend(rows.unwrap_or_default()))?;
        Ok(out)
    }

    /// [`rows`](Self::rows) of many entries, as many at a time as memory is for: a round of each and then
    /// again, so that what slows the machine down for seconds slows one round of many entries, and not all
    /// rounds of one; and some rounds on a device opened anew. `tell` hears of each entry when it is loaded, and
    /// again with its rows.
    ///
    /// **Submits, and waits, on a device that was handed over too.**
    ///
    /// # Errors
    /// As [`rows`](Self::rows); those of opening the device.
    pub fn rows_in_turn(
        &mut self,
        entries: &[Entry],
        tell: &mut dyn FnMut(&Entry, Option<Vec<Row>>),
    ) -> Result<()> {
        let mut window = Vec::new();
        if self.used {
            // What was measured before was of another sitting.
            self.begin_anew(&mut window)?;
        }
        for (i, entry) in entries.iter().enumerate() {
            tell(entry, None);
            let trial = self.trial(entry)?;
            window.push(self.standing(entry, trial)?);
            if i + 1 < entries.len() && window.iter().map(Standing::bytes).sum::<u64>() < WINDOW_BYTES {
                continue;
            }
            self.sit(&mut window)?;
            window.drain(..).for_each(|standing| tell(standing.entry, Some(standing.rows())));
        }
        Ok(())
    }

    fn trial(&mut self, entry: &Entry) -> Result<Arc<Trial>> {
        let (name, class) = (shape_name(entry), entry.kernel.numerics);
        let trial = match self.last.take() {
            Some((last, numerics, trial)) if last == name && numerics == class => trial,
            _ => Arc::new(entry.task.trial(entry.kernel)?),
        };
        self.last = Some((name, class, trial.clone()));
        Ok(trial)
    }

    /// Loads what an entry needs, and judges it.
    fn standing<'a>(&mut self, entry: &'a Entry, trial: Arc<Trial>) -> Result<Standing<'a>> {
        let mut out = Standing::new(entry, trial.clone());
        let trial = &*trial;
        match self.enter(entry, trial, false)? {
            Ok(right) => out.right.push(right),
            Err(outcome) => {
                out.failed.push(row(entry, false, false, outcome));
                return Ok(out);
            }
        }
        if self.options.trusted {
            match self.enter(entry, trial, true)? {
                Ok(also) => out.right.push(also),
                Err(outcome) => out.failed.push(row(entry, false, true, outcome)),
            }
        }
        let (shape, numerics) = (&entry.task.shape, entry.kernel.numerics);
        let demand = Demand::of(entry.task.op, shape, numerics, &trial.graph);
        let held = out.right[0].runs[0].0.plan().peak_bytes.max(1);
        let copies = cold_bytes(self.gpu.profile()).div_ceil(held);
        let near = self.near().min(copies);
        let is_cold = copies <= MOST_COPIES
            && match self.options.cold {
                Cold::Nothing => false,
                Cold::WhereItTells => self.is_cached(&demand) && demand.is_mostly_memory(),
                Cold::All => true,
            };
        for (cold, copies) in [(false, near), (true, copies)].into_iter().take(1 + usize::from(is_cold)) {
            if let Some(failed) = self.more(&mut out.right, entry, trial, copies, cold)? {
                out.failed.push(failed);
                // No later sitting has more room.
                for kernel in &mut out.right {
                    kernel.runs.truncate(near as usize);
                    kernel.copies = kernel.runs.len() as u64;
                }
                break;
            }
            let heat = self.heat(entry, demand, cold)?;
            out.heats.push(heat);
        }
        Ok(out)
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
                    Ok(run) => {
                        kernel.runs.push(run);
                        kernel.copies = kernel.runs.len() as u64;
                    }
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
        let mut run = match self.first(entry, trial, trusted)? {
            Ok(run) => run,
            Err(outcome) => return Ok(Err(outcome)),
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
        Ok(Ok(Right { trusted, runs: vec![run], copies: 1, error, bits }))
    }

    /// Loads the first copy of a kernel, or says what becomes of a kernel that does not load.
    fn first(
        &self,
        entry: &Entry,
        trial: &Trial,
        trusted: bool,
    ) -> Result<Result<(Executable, Io), Outcome>> {
        match self.load(entry, trial, trusted, 0) {
            Ok(run) => Ok(Ok(run)),
            Err(e @ (Error::DeviceLost(_) | Error::Shape(_) | Error::Argument(_))) => Err(e),
            Err(e @ Error::Validation(_)) => Ok(Err(Outcome::Wrong(format!("it does not load: {e}")))),
            Err(e) => Ok(Err(Outcome::Unable(e.to_string()))),
        }
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

    /// What a probe reached in a second, by its name.
    fn rates(&self) -> impl Fn(&str) -> Option<f64> {
        |name| self.readings.iter().find(|r| r.name == name)?.value.clone().ok()
    }

    /// Whether data that are used again may be in a cache: warm or not, what is far larger than what the cached
    /// probes hold comes from memory.
    fn is_cached(&self, demand: &Demand) -> bool {
        let near = if self.gpu.profile().kind == DeviceKind::Cpu { 8 << 20 } else { 32 << 20 };
        demand.bytes() <= f64::from(near)
    }

    /// How many copies of a case's buffers there are warm, in one sitting.
    fn near(&self) -> u64 {
        (MOST_NEAR / u64::from(self.options.sittings.max(1))).max(1)
    }

    /// The probe to measure with a kernel, and how much of what it counts the kernel must do.
    fn beside(&self, id: &str, demand: &Demand, cold: bool) -> Option<(Probe, f64)> {
        let (cached, rate) = (!cold && self.is_cached(demand), self.rates());
        let asked = demand.asked(cached);
        let before =
            self.preferred.get(id).and_then(|(name, _)| asked.iter().find(|(n, _)| n == name).copied());
        let (name, asked) = before.or_else(|| demand.binding(cached, rate))?;
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

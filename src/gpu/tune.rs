//! Measuring which kernel is fastest where, on this device: candidates that the judge accepts run
//! against each other, losers leave early, and the estimate's choice stays unless another is faster
//! beyond the noise.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bench::{Comparison, Samples, Verdict};
use crate::dim::Call;
use crate::error::{Error, Result};
use crate::gpu::{Effort, Executable, Gpu, Io};
use crate::kernel::Kernel;
use crate::plan::{Numerics, Policy, plan};
use crate::profile::Profile;
use crate::tensor::Tensor;
use crate::tune::{Rejected, Task, Trial, Tuning, Winner, texts};

mod duel;

/// After one look, whoever takes longer than this many times the best's time leaves.
const HOPELESS: f64 = 3.0;

/// Why what was right at first is not.
const OTHER_BITS: &str = "a later run, or the same kernel loaded again, gave other bits";

/// What became of one task.
#[derive(Debug, Clone, Default)]
pub struct Tuned {
    /// What the estimate would choose, of those that are not refused.
    pub estimate: String,
    /// Who won; `None` if no kernel is right.
    pub winner: Option<String>,
    /// The winner's time, in seconds.
    pub seconds: f64,
    /// How the fastest other compares with the estimate's choice, each loaded several times: if it is faster, the
    /// slowest of its loadings with the fastest of the other's. `None` if there was no other.
    pub comparison: Option<(String, Comparison)>,
    /// The last median time of every kernel that ran, in seconds, in the order of the estimates.
    pub times: Vec<(String, f64)>,
    /// Kernels that the judge refused, and why, with the case that shows it again.
    pub rejected: Vec<(String, Rejected)>,
    /// Kernels that could not run here, or were refused before, and why.
    pub left_out: Vec<(String, String)>,
}

impl Tuned {
    /// The winner's time as a fraction of the estimate's choice's.
    pub fn ratio(&self) -> f64 {
        match &self.comparison {
            Some((kernel, c)) if self.winner.as_ref() == Some(kernel) => c.ratio,
            _ => 1.0,
        }
    }
}

/// A kernel in the race.
struct Runner {
    kernel: &'static Kernel,
    /// An executable with inputs in its buffers, and the same plan loaded anew: code and data lie elsewhere.
    loadings: Vec<[(Executable, Io); 1]>,
    call: Call,
    /// What the first made of them.
    outputs: Vec<Tensor>,
    seconds: f64,
}

/// Why a kernel does not run.
enum Out {
    /// It cannot run here.
    Unable(String),
    /// It is wrong.
    Wrong(String),
}

impl Gpu {
    /// Finds the fastest kernel for each task, in order, and notes it in `tuning`, until the time is up;
    /// gives how many tasks were done. A task that was begun is finished, and each gets its share of what
    /// is left.
    ///
    /// **Submits, and waits, on a device that was handed over too**, for as long as it takes.
    ///
    /// No kernel wins that the judge has not accepted: each is given random inputs at the task's sizes, and
    /// every row of its results is held against the references; two runs must give the same bits, and so
    /// must a third after it won. What is wrong is noted as rejected. The estimate's choice stays unless
    /// another is faster by three in a hundred, and surely so, however lucky each was with where its code and
    /// its data came to lie: both are loaded several times, and the slowest of the one is held against the
    /// fastest of the other.
    ///
    /// # Errors
    /// [`Error::Argument`] if `tuning` is of another device; [`Error::DeviceLost`]; those of building a
    /// task's case. Then `tuning` holds what was found before.
    pub fn tune(
        &self,
        tasks: &[Task],
        budget: Duration,
        tuning: &mut Tuning,
        tell: &mut dyn FnMut(&Task, &Tuned, &Tuning),
    ) -> Result<usize> {
        self.profile().with_tuning(tuning.clone())?;
        let begun = Instant::now();
        for (i, task) in tasks.iter().enumerate() {
            let left = budget.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(i);
            }
            let tuned = self.tune_one(task, left / (tasks.len() - i) as u32, tuning)?;
            tell(task, &tuned, tuning);
        }
        Ok(tasks.len())
    }

    /// The times of some kernels, by name, at a task's sizes, measured in turn; for each that does not run
    /// or is not right, why. Each is loaded several times; the times are those of the loading in the middle.
    ///
    /// Submits, and waits, on a device that was handed over too.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; those of building the task's case.
    pub fn time_kernels(
        &self,
        task: &Task,
        names: &[&str],
        effort: &Effort,
    ) -> Result<Vec<Result<Samples, String>>> {
        let (mut trials, mut field, mut out) = (Trials::default(), Vec::new(), Vec::new());
        for name in names {
            let found = task.op.kernels.iter().find(|k| k.name == *name);
            let Some(kernel) = found else {
                out.push(Err(format!("there is no kernel `{name}`")));
                continue;
            };
            match self.enter(task, kernel, trials.of(task, kernel)?)? {
                Ok(mut runner) => {
                    if self.load_again(task, &mut runner, trials.of(task, kernel)?, effort.budget)? {
                        out.push(Ok(field.len()));
                        field.push(runner);
                    } else {
                        out.push(Err(OTHER_BITS.into()));
                    }
                }
                Err(Out::Unable(why) | Out::Wrong(why)) => out.push(Err(why)),
            }
        }
        let all: Vec<usize> = (0..field.len()).collect();
        let samples = self.time_loadings(&mut field, &all, effort)?;
        let middle = |i: usize| duel::sorted(&samples[i])[samples[i].len() / 2].clone();
        Ok(out.into_iter().map(|place| place.map(middle)).collect())
    }

    fn tune_one(&self, task: &Task, share: Duration, tuning: &mut Tuning) -> Result<Tuned> {
        let mut tuned = Tuned::default();
        let mut field = Vec::new();
        let mut trials = Trials::default();
        for kernel in &task.kernels {
            if let Some(wrong) = tuning.rejection(kernel.name, &task.types) {
                let why = format!("it was wrong before: {}", wrong.why);
                tuned.left_out.push((kernel.name.into(), why));
                continue;
            }
            match self.enter(task, kernel, trials.of(task, kernel)?)? {
                Ok(runner) => field.push(runner),
                Err(Out::Unable(why)) => tuned.left_out.push((kernel.name.into(), why)),
                Err(Out::Wrong(why)) => reject(task, kernel, why, tuning, &mut tuned),
            }
        }
        while let Some(first) = field.first() {
            tuned.estimate = first.kernel.name.into();
            let raced = self.race(task, &mut field, &mut trials, share, &mut tuned)?;
            let (Ok(at) | Err(at)) = raced;
            let winner = &mut field[at];
            if raced.is_err() || !same_again(winner, trials.of(task, winner.kernel)?)? {
                let kernel = field.remove(at).kernel;
                reject(task, kernel, OTHER_BITS.into(), tuning, &mut tuned);
                continue;
            }
            let name = winner.kernel.name;
            (tuned.winner, tuned.seconds) = (Some(name.into()), winner.seconds);
            tuning.won(
                task.key.clone(),
                Winner {
                    kernel: name.into(),
                    estimate: tuned.estimate.clone(),
                    ratio: tuned.ratio(),
                    seconds: winner.seconds,
                    case: task.case(winner.kernel).to_string(),
                    texts: texts(name).unwrap_or_default(),
                    when: now(),
                },
            );
            break;
        }
        Ok(tuned)
    }

    /// Loads a kernel's plan.
    fn load_one(&self, task: &Task, kernel: &'static Kernel, trial: &Trial) -> Result<(Executable, Io)> {
        // What is avoided never got here, and what is named is not avoided.
        let policy = Policy { kernel: Some(kernel.name.into()), ..task.policy.clone() };
        let profile = Profile { tuning: None, ..self.profile().clone() };
        let plan = plan(&trial.graph, &profile, &policy)?;
        let mut exe = self.load_blocking(&plan, &trial.tensors, Default::default())?;
        let io = pollster::block_on(exe.own_io())?;
        Ok((exe, io))
    }

    /// Loads a kernel's plan, runs it twice and judges it.
    fn enter(&self, task: &Task, kernel: &'static Kernel, trial: &Trial) -> Result<Result<Runner, Out>> {
        let mut run = match self.load_one(task, kernel, trial) {
            Ok(run) => run,
            Err(e @ (Error::DeviceLost(_) | Error::Shape(_) | Error::Argument(_))) => return Err(e),
            Err(e @ Error::Validation(_)) => return Ok(Err(Out::Wrong(format!("it does not load: {e}")))),
            Err(e) => return Ok(Err(Out::Unable(e.to_string()))),
        };
        let outputs = run.0.run_blocking(&inputs(&run.0, trial), &trial.call)?;
        if let Some(why) = trial.judge(&outputs) {
            return Ok(Err(Out::Wrong(why)));
        }
        let (loadings, call) = (vec![[run]], trial.call.clone());
        let mut runner = Runner { kernel, loadings, call, outputs, seconds: 0.0 };
        if !same_again(&mut runner, trial)? {
            return Ok(Err(Out::Wrong("two runs gave other bits".into())));
        }
        Ok(Ok(runner))
    }

    /// Who of the field is fastest: its place; or the place of one that gave other bits when it was loaded
    /// again. The first is the estimate's choice.
    fn race(
        &self,
        task: &Task,
        field: &mut [Runner],
        trials: &mut Trials,
        share: Duration,
        tuned: &mut Tuned,
    ) -> Result<Result<usize, usize>> {
        let once = Effort { warmup: 1, least: 1, most: 1, ..Effort::quick() };
        let mut left: Vec<usize> = (0..field.len()).collect();
        self.time(field, &left, &once)?;
        let best = |left: &[usize], field: &[Runner]| {
            left.iter().copied().min_by(|a, b| field[*a].seconds.total_cmp(&field[*b].seconds)).unwrap_or(0)
        };
        let hopeless = HOPELESS * field[best(&left, field)].seconds;
        left.retain(|i| *i == 0 || field[*i].seconds <= hopeless);
        // Halves, and the estimate's choice, until there are two; half the time for all that.
        while left.len() > 2 {
            let budget = (share / 8).min(Effort::default().budget);
            self.time(field, &left, &Effort { budget, ..Effort::quick() })?;
            left.sort_by(|a, b| field[*a].seconds.total_cmp(&field[*b].seconds));
            let half = left.len().div_ceil(2);
            let others = left.iter().copied().filter(|i| *i != 0).take(half.min(left.len() - 2).max(1));
            left = [0].into_iter().chain(others).collect();
        }
        let mut winner = 0;
        tuned.comparison = None;
        if let Some(&other) = left.get(1) {
            let budget = (share / 2).min(Effort::default().budget);
            for i in [0, other] {
                let runner = &mut field[i];
                if !self.load_again(task, runner, trials.of(task, runner.kernel)?, budget)? {
                    return Ok(Err(i));
                }
            }
            // As long for each pair of loadings as for two executables.
            let pairs = (field[0].loadings.len() + field[other].loadings.len()).div_ceil(2) as u32;
            let budget = (share / 2).min(Effort::default().budget * pairs);
            let mut compared = self.duel(field, other, budget)?;
            if compared.verdict == Verdict::TooNoisy {
                compared = self.duel(field, other, budget * 2)?;
            }
            winner = if compared.verdict == Verdict::Faster { other } else { 0 };
            tuned.comparison = Some((field[other].kernel.name.into(), compared));
        }
        tuned.times = field.iter().map(|r| (r.kernel.name.into(), r.seconds)).collect();
        Ok(Ok(winner))
    }
}

/// Whether another run gives the same bits.
fn same_again(runner: &mut Runner, trial: &Trial) -> Result<bool> {
    let [(exe, _)] = &mut runner.loadings[0];
    let again = exe.run_blocking(&inputs(exe, trial), &trial.call)?;
    Ok(again.iter().map(Tensor::to_bytes).eq(runner.outputs.iter().map(Tensor::to_bytes)))
}

/// Inputs and answers: the same for all kernels of one class of numerics, made by the first that needs them.
#[derive(Default)]
struct Trials(Vec<(Numerics, Trial)>);

impl Trials {
    fn of(&mut self, task: &Task, kernel: &'static Kernel) -> Result<&Trial> {
        let at = match self.0.iter().position(|(n, _)| *n == kernel.numerics) {
            Some(at) => at,
            None => {
                self.0.push((kernel.numerics, task.trial(kernel)?));
                self.0.len() - 1
            }
        };
        Ok(&self.0[at].1)
    }
}

fn reject(task: &Task, kernel: &'static Kernel, why: String, tuning: &mut Tuning, tuned: &mut Tuned) {
    let texts = texts(kernel.name).unwrap_or_default();
    let rejected = Rejected { why, case: task.case(kernel).to_string(), texts, when: now() };
    tuning.reject(kernel.name, &task.types, rejected.clone());
    tuned.rejected.push((kernel.name.into(), rejected));
}

fn inputs<'a>(exe: &Executable, trial: &'a Trial) -> Vec<(&'a str, &'a Tensor)> {
    let is_input = |name: &&String| exe.plan().inputs.iter().any(|p| p.name == **name);
    trial.tensors.iter().filter(|(name, _)| is_input(name)).map(|(n, t)| (n.as_str(), t)).collect()
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

//! Runs cases on a device, three ways, and hands every result to the judge. It decides nothing
//! about numbers itself.

use std::time::Instant;

use pollster::block_on;

use super::fence::{BEYOND, POISON, Place, filled, first_touched};
use super::inputs::Prepared;
use super::{Case, verdicts};
use crate::dim::Call;
use crate::error::{Error, Result};
use crate::gpu::{Executable, Gpu, LoadOptions};
use crate::graph::Graph;
use crate::judge::Verdict;
use crate::plan::prepare::prepare;
use crate::plan::{Plan, Policy, Role, plan};

/// Bytes that every buffer is longer than it need be: where stray writes land, and what stray reads
/// find.
const GUARD_BYTES: u64 = 256;
/// Plans whose pipelines are kept for the next, which often need the same; none that holds much.
const KEPT: usize = 4;
const KEPT_BYTES: u64 = 4 << 20;

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Everything is right.
    Pass,
    /// Something is wrong.
    Fail,
    /// The device cannot run it, and why.
    Unsupported(String),
    /// Something is wrong, as a quirk of the device says that it must be, and why.
    ExpectedFailure(String),
    /// Everything is right although a quirk says otherwise: the quirk is to be mended.
    UnexpectedPass(String),
}

/// Something wrong with a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What, in a sentence without its end.
    pub what: String,
    /// The judge's words, where it is about numbers.
    pub verdict: Option<Verdict>,
}

/// The result of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What became of it.
    pub status: Status,
    /// The seed of its inputs.
    pub seed: u64,
    /// Elements that were judged.
    pub elements: usize,
    /// The worst error as a fraction of its allowance.
    pub worst: f64,
    /// The time it took, in seconds, references included.
    pub seconds: f64,
    /// What is wrong, if something is.
    pub failures: Vec<Failure>,
    /// Whether the device is gone, and every case after this one would fail with it.
    pub device_lost: bool,
}

/// What [`run`] tells while it runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A case begins.
    Begin(&'a Case),
    /// A case is done.
    End(&'a Case, &'a Outcome),
}

/// Runs cases on a device, in order, until the device is lost; `seed` replaces that of every case.
pub fn run(gpu: &Gpu, cases: &[Case], seed: Option<u64>, tell: &mut dyn FnMut(Event<'_>)) {
    run_altered(gpu, cases, seed, &|_| (), tell);
}

/// [`run`] with every plan altered before it is loaded: to show that a plan or a shader that is
/// broken on purpose does not pass.
pub fn run_altered(
    gpu: &Gpu,
    cases: &[Case],
    seed: Option<u64>,
    alter: &dyn Fn(&mut Plan),
    tell: &mut dyn FnMut(Event<'_>),
) {
    let mut bench = Bench { gpu, alter, kept: Vec::new(), poison: Vec::new() };
    for case in cases {
        tell(Event::Begin(case));
        let outcome = bench.outcome(case, seed.unwrap_or_else(|| case.seed()));
        tell(Event::End(case, &outcome));
        if outcome.device_lost {
            return;
        }
    }
}

/// What a case showed so far.
#[derive(Default)]
pub(super) struct Found {
    pub failures: Vec<Failure>,
    pub elements: usize,
    pub worst: f64,
}

impl Found {
    pub fn fail(&mut self, what: String) {
        self.failures.push(Failure { what, verdict: None });
    }

    pub fn judged(&mut self, what: &str, verdict: Verdict) {
        self.elements += verdict.elements;
        self.worst = self.worst.max(verdict.worst);
        if !verdict.passed() {
            self.failures.push(Failure { what: what.to_owned(), verdict: Some(verdict) });
        }
    }
}

/// A case's plan on the device, without buffer reuse and with it.
struct Loaded {
    name: String,
    graph: Graph,
    call: Call,
    apart: Executable,
    /// `None` where reuse changes nothing.
    shared: Option<Executable>,
}

/// A device with the plans that were loaded last.
struct Bench<'a> {
    gpu: &'a Gpu,
    alter: &'a dyn Fn(&mut Plan),
    kept: Vec<Loaded>,
    /// As much poison as was needed so far.
    poison: Vec<u8>,
}

impl Bench<'_> {
    fn outcome(&mut self, case: &Case, seed: u64) -> Outcome {
        let begun = Instant::now();
        let mut found = Found::default();
        let result = self.check(case, seed, &mut found);
        let device_lost = matches!(result, Err(Error::DeviceLost(_)));
        let status = match result {
            Ok(()) if found.failures.is_empty() => Status::Pass,
            Ok(()) => Status::Fail,
            Err(
                e @ (Error::NoKernel(_) | Error::Limit(_) | Error::Budget { .. } | Error::OutOfMemory(_)),
            ) => Status::Unsupported(e.to_string()),
            Err(e) => {
                found.fail(e.to_string());
                Status::Fail
            }
        };
        let status = status.expecting(self.gpu.profile().expects_failure(&case.to_string()));
        let Found { failures, elements, worst } = found;
        let seconds = begun.elapsed().as_secs_f64();
        Outcome { status, seed, elements, worst, seconds, failures, device_lost }
    }

    fn check(&mut self, case: &Case, seed: u64, found: &mut Found) -> Result<()> {
        let prepared = self.load(case, seed)?;
        let Some(Loaded { graph, call, apart, shared, .. }) = self.kept.last_mut() else { return Ok(()) };
        verdicts::plan_writes_no_input(apart.plan(), found);

        let mut buffers = send(apart, call, &prepared)?;
        keep(execute(apart, call, &mut self.poison)?, &mut buffers);
        verdicts::steps(graph, call, apart.plan(), &buffers, &prepared, found)?;
        fence(apart.plan(), call, graph, &buffers, found);

        let again = execute(apart, call, &mut self.poison)?;
        if let Some((buffer, at)) = verdicts::first_difference(&buffers, &again) {
            found.fail(format!("two runs differ: byte {at} of {}", apart.plan().buffer_name(buffer)));
        }
        let Some(shared) = shared else { return Ok(()) };
        let mut reused = send(shared, call, &prepared)?;
        keep(execute(shared, call, &mut self.poison)?, &mut reused);
        verdicts::same_outputs(call, (apart.plan(), &buffers), (shared.plan(), &reused), found);
        Ok(())
    }

    /// Makes the case's plan the last that is kept, and its numbers.
    fn load(&mut self, case: &Case, seed: u64) -> Result<Prepared> {
        let name = case.plan_name();
        if let Some(last) = self.kept.last().filter(|last| last.name == name) {
            return case.prepare(&last.graph, &last.call, seed);
        }
        let (graph, call) = case.build()?;
        let prepared = case.prepare(&graph, &call, seed)?;
        let policy = case.policy();
        let altered = |policy: &Policy| -> Result<Plan> {
            let mut plan = plan(&graph, self.gpu.profile(), policy)?;
            (self.alter)(&mut plan);
            Ok(plan)
        };
        let shared = altered(&policy)?;
        let apart = altered(&Policy { reuse: false, ..policy })?;
        let options = LoadOptions { slots: 2, guard_bytes: GUARD_BYTES };
        let load = |plan: &Plan| self.gpu.load_blocking(plan, &prepared.tensors, options);
        let differs = shared.buffers != apart.buffers || shared.steps != apart.steps;
        let shared = differs.then(|| load(&shared)).transpose()?;
        let loaded = Loaded { name, apart: load(&apart)?, shared, graph, call };
        self.kept.retain(|k| k.apart.plan().peak_bytes <= KEPT_BYTES);
        self.kept.drain(..(self.kept.len() + 1).saturating_sub(KEPT));
        self.kept.push(loaded);
        Ok(prepared)
    }
}

/// The bytes of every buffer of a plan, by place.
type Buffers = Vec<Vec<u8>>;

/// Fills the buffers of inputs and weights, NaN in every gap between rows and behind the end.
fn send(exe: &mut Executable, call: &Call, prepared: &Prepared) -> Result<Buffers> {
    let plan = exe.plan().clone();
    let mut buffers = vec![Vec::new(); plan.buffers.len()];
    for (i, spec) in plan.buffers.iter().enumerate() {
        let len = exe.buffer_bytes(i)? as usize;
        buffers[i] = match spec.role {
            Role::Input(port) => {
                let mut bytes = filled(BEYOND, len);
                let port = &plan.inputs[port];
                let tensor = prepared.tensors.get(&port.name).ok_or_else(|| {
                    Error::Argument(format!(
                        "check: the plan has an input `{}`, but the graph has none",
                        port.name
                    ))
                })?;
                Place::new(port.dtype, &port.shape, &port.layout, call).write(tensor, &mut bytes);
                bytes
            }
            Role::Weight(weight) => {
                let mut bytes = prepare(&plan.weights[weight], &prepared.tensors)?;
                bytes.extend(filled(BEYOND, len.saturating_sub(bytes.len())));
                bytes
            }
            Role::Output(_) | Role::Scratch => continue,
        };
        block_on(exe.write_buffer(i, &buffers[i]))?;
    }
    Ok(buffers)
}

/// Poisons every buffer that the plan may write, runs the call once, and reads them back.
fn execute(exe: &mut Executable, call: &Call, poison: &mut Vec<u8>) -> Result<Vec<Option<Vec<u8>>>> {
    let roles = exe.plan().buffers.iter().map(|b| matches!(b.role, Role::Output(_) | Role::Scratch));
    let written: Vec<bool> = roles.collect();
    for i in (0..written.len()).filter(|i| written[*i]) {
        let len = exe.buffer_bytes(i)? as usize;
        if poison.len() < len {
            *poison = filled(POISON, len);
        }
        block_on(exe.write_buffer(i, &poison[..len]))?;
    }
    block_on(exe.dispatch(call))?;
    let mut read = |i: usize| written[i].then(|| block_on(exe.read_buffer(i))).transpose();
    (0..written.len()).map(&mut read).collect()
}

/// Puts what was read back among the rest.
fn keep(read: Vec<Option<Vec<u8>>>, buffers: &mut Buffers) {
    for (buffer, read) in buffers.iter_mut().zip(read) {
        if let Some(bytes) = read {
            *buffer = bytes;
        }
    }
}

/// Whether what no step has any business with is as it was, in every buffer that steps write.
fn fence(plan: &Plan, call: &Call, graph: &Graph, buffers: &Buffers, found: &mut Found) {
    for (i, spec) in plan.buffers.iter().enumerate() {
        if !matches!(spec.role, Role::Output(_) | Role::Scratch) {
            continue;
        }
        let mut owned = vec![false; buffers[i].len().div_ceil(4)];
        for (value, buffer, layout) in plan.steps.iter().flat_map(|s| &s.writes) {
            if *buffer == i {
                let value = &graph.values()[*value];
                Place::new(value.dtype, &value.shape, layout, call).mark(&mut owned);
            }
        }
        if let Some(at) = first_touched(&buffers[i], POISON, &owned) {
            let what = if at as u64 >= spec.bytes { "guard word behind its end" } else { "gap" };
            found.fail(format!("a stray write: byte {at} of {}, a {what}", plan.buffer_name(i)));
        }
    }
}

//! Runs cases on a device, three ways, and hands every result to the judge. It decides nothing
//! about numbers itself.

use std::time::Instant;

use super::fence::{BEYOND, POISON, Place, filled, first_touched};
use super::inputs::Prepared;
use super::machine::{Fill, Machine};
use super::{Case, verdicts};
use crate::dim::Call;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::judge::Verdict;
use crate::plan::prepare::prepare;
use crate::plan::{BufferSpec, Plan, Policy, Role, plan};

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
pub fn run<M: Machine>(machine: &M, cases: &[Case], seed: Option<u64>, tell: &mut dyn FnMut(Event<'_>)) {
    run_altered(machine, cases, seed, &|_| (), tell);
}

/// [`run`] with every plan altered before it is loaded: to show that a plan or a shader that is
/// broken on purpose does not pass.
pub fn run_altered<M: Machine>(
    machine: &M,
    cases: &[Case],
    seed: Option<u64>,
    alter: &dyn Fn(&mut Plan),
    tell: &mut dyn FnMut(Event<'_>),
) {
    let mut bench = Bench { machine, alter, kept: Vec::new() };
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

/// A plan on the device.
struct Held<L> {
    plan: Plan,
    loaded: L,
}

/// A case's plan on the device, without buffer reuse and with it.
struct Kept<L> {
    name: String,
    graph: Graph,
    call: Call,
    apart: Held<L>,
    /// `None` where reuse changes nothing.
    shared: Option<Held<L>>,
}

/// A device with the plans that were loaded last.
struct Bench<'a, M: Machine> {
    machine: &'a M,
    alter: &'a dyn Fn(&mut Plan),
    kept: Vec<Kept<M::Loaded>>,
}

impl<M: Machine> Bench<'_, M> {
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
        let status = status.expecting(self.machine.profile().expects_failure(&case.to_string()));
        let Found { failures, elements, worst } = found;
        let seconds = begun.elapsed().as_secs_f64();
        Outcome { status, seed, elements, worst, seconds, failures, device_lost }
    }

    fn check(&mut self, case: &Case, seed: u64, found: &mut Found) -> Result<()> {
        let prepared = self.load(case, seed)?;
        let machine = self.machine;
        let Some(Kept { graph, call, apart, shared, .. }) = self.kept.last_mut() else { return Ok(()) };
        verdicts::plan_writes_no_input(&apart.plan, found);

        let mut buffers = given(&apart.plan, call, &prepared)?;
        let states = states(&apart.plan, &buffers);
        apart.execute(machine, call, &mut buffers, true)?;
        verdicts::steps(graph, call, &apart.plan, &buffers, &prepared, found)?;
        fence(&apart.plan, call, graph, (&states, &buffers), found);
        let holds = |buffer: usize| held(&apart.plan, call, graph, buffer, buffers[buffer].len());
        machine.findings(&apart.loaded, &holds).into_iter().for_each(|what| found.fail(what));

        let mut again = states;
        apart.execute(machine, call, &mut again, false)?;
        if let Some((buffer, at)) = verdicts::first_difference(&buffers, &again) {
            found.fail(format!("two runs differ: byte {at} of {}", apart.plan.buffer_name(buffer)));
        }
        let Some(shared) = shared else { return Ok(()) };
        let mut reused = given(&shared.plan, call, &prepared)?;
        shared.execute(machine, call, &mut reused, true)?;
        verdicts::same_outputs(call, (&apart.plan, &buffers), (&shared.plan, &reused), found);
        // What values share a buffer hold at the end is not all of them.
        machine.findings(&shared.loaded, &|_| Vec::new()).into_iter().for_each(|what| found.fail(what));
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
            let mut plan = plan(&graph, self.machine.profile(), policy)?;
            (self.alter)(&mut plan);
            Ok(plan)
        };
        let shared = altered(&policy)?;
        let apart = altered(&Policy { reuse: false, ..policy })?;
        let differs = shared.buffers != apart.buffers || shared.steps != apart.steps;
        let load = |plan: Plan| -> Result<Held<M::Loaded>> {
            let loaded = self.machine.load(&plan, &prepared.tensors, GUARD_BYTES)?;
            Ok(Held { plan, loaded })
        };
        let shared = differs.then(|| load(shared)).transpose()?;
        let kept = Kept { name, apart: load(apart)?, shared, graph, call };
        self.kept.retain(|k| k.apart.plan.peak_bytes <= KEPT_BYTES);
        self.kept.drain(..(self.kept.len() + 1).saturating_sub(KEPT));
        self.kept.push(kept);
        Ok(prepared)
    }
}

/// The bytes of every buffer of a plan, by place.
type Buffers = Vec<Vec<u8>>;

/// What the buffers of inputs and weights hold, NaN in every gap between rows and behind the end;
/// nothing for the others.
fn given(plan: &Plan, call: &Call, prepared: &Prepared) -> Result<Buffers> {
    let fill = |spec: &BufferSpec| {
        let len = (spec.bytes.max(16) + GUARD_BYTES) as usize;
        match spec.role {
            Role::Input(port) | Role::State(port) => {
                let mut bytes = filled(BEYOND, len);
                let port = &plan.inputs[port];
                let tensor = prepared.tensors.get(&port.name).ok_or_else(|| {
                    Error::Argument(format!(
                        "check: the plan has an input `{}`, but the graph has none",
                        port.name
                    ))
                })?;
                Place::new(port.dtype, &port.shape, &port.layout, call).write(tensor, &mut bytes);
                Ok(bytes)
            }
            Role::Weight(weight) => {
                let mut bytes = prepare(&plan.weights[weight], &prepared.tensors)?;
                bytes.extend(filled(BEYOND, len.saturating_sub(bytes.len())));
                Ok(bytes)
            }
            Role::Output(_) | Role::Scratch => Ok(Vec::new()),
        }
    };
    plan.buffers.iter().map(fill).collect()
}

impl<L> Held<L> {
    /// Poisons every buffer that the plan may write, runs the call once, and puts what it left there
    /// among the buffers; before that it fills states, and the others if `send`, with what stands among them.
    fn execute<M>(&mut self, machine: &M, call: &Call, buffers: &mut Buffers, send: bool) -> Result<()>
    where
        M: Machine<Loaded = L>,
    {
        let (mut fills, mut reads) = (Vec::new(), Vec::new());
        for (i, spec) in self.plan.buffers.iter().enumerate() {
            let is_state = matches!(spec.role, Role::State(_));
            if matches!(spec.role, Role::Output(_) | Role::Scratch) {
                fills.push((i, Fill::Pattern(POISON)));
                reads.push(i);
            } else if send || is_state {
                fills.push((i, Fill::Bytes(&buffers[i])));
                reads.extend(is_state.then_some(i));
            }
        }
        let read = machine.run(&mut self.loaded, call, &fills, &reads)?;
        drop(fills);
        for (i, bytes) in reads.into_iter().zip(read) {
            buffers[i] = bytes;
        }
        Ok(())
    }
}

/// Of all buffers only those of states.
fn states(plan: &Plan, buffers: &Buffers) -> Buffers {
    let is_state = |spec: &BufferSpec| matches!(spec.role, Role::State(_));
    let states = plan.buffers.iter().zip(buffers);
    states.map(|(spec, bytes)| if is_state(spec) { bytes.clone() } else { Vec::new() }).collect()
}

/// Which bytes of a buffer hold elements of the values that steps leave in it.
fn held(plan: &Plan, call: &Call, graph: &Graph, buffer: usize, bytes: usize) -> Vec<bool> {
    let mut held = vec![false; bytes];
    left(plan, call, graph, buffer).iter().for_each(|place| place.hold(&mut held));
    held
}

/// Where the tensors lie that steps leave in a buffer.
fn left(plan: &Plan, call: &Call, graph: &Graph, buffer: usize) -> Vec<Place> {
    let steps = || plan.steps.iter();
    let values = steps().flat_map(|s| &s.writes).filter(|(_, b, _)| *b == buffer).map(|(v, _, layout)| {
        let value = &graph.values()[*v];
        Place::new(value.dtype, &value.shape, layout, call)
    });
    let scratch = steps().flat_map(|s| &s.scratch).filter(|p| p.buffer == buffer);
    values.chain(scratch.map(|p| Place::new(p.dtype, &p.shape, &p.layout, call))).collect()
}

/// Whether what no step has any business with is as it was, in every buffer that steps write: of `states`, and
/// poison elsewhere.
fn fence(
    plan: &Plan,
    call: &Call,
    graph: &Graph,
    (states, buffers): (&Buffers, &Buffers),
    found: &mut Found,
) {
    for (i, spec) in plan.buffers.iter().enumerate() {
        let poison;
        let before = match spec.role {
            Role::State(_) => &states[i],
            Role::Output(_) | Role::Scratch => {
                poison = filled(POISON, buffers[i].len());
                &poison
            }
            Role::Input(_) | Role::Weight(_) => continue,
        };
        let mut owned = vec![false; buffers[i].len().div_ceil(4)];
        left(plan, call, graph, i).iter().for_each(|place| place.mark(&mut owned));
        if let Some(at) = first_touched(&buffers[i], before, &owned) {
            let what = if at as u64 >= spec.bytes { "guard word behind its end" } else { "gap" };
            found.fail(format!("a stray write: byte {at} of {}, a {what}", plan.buffer_name(i)));
        }
    }
}

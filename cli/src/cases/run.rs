//! Runs a case on a device and hands the results to the judge: the device's outputs against what the
//! case expects, and our own reference against it too.

use serde_json::{Value, json};
use tachylite::check::{Fill, Machine};
use tachylite::judge::{Verdict, judge, within};
use tachylite::numerics::Approx;
use tachylite::plan::Numerics;
use tachylite::plan::prepare::prepare;
use tachylite::plan::{Policy, Role, plan};
use tachylite::{Call, Error, Result, Tensor, cpu};

use super::build::{Bound, Case, Expected, Stop};
use super::suite::{Spec, Suite};
use super::{attention, gguf, misc, onnx, quant, rwkv7};

/// Bytes that buffers are longer than they need be: with any, weights are not shared with other plans, and
/// can be written as every machine is written to.
const OWN: u64 = 16;

/// What became of a case on a device.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Why it is not covered.
    pub unsupported: Option<String>,
    /// What is wrong, as sentences' beginnings with the judge's words.
    pub failures: Vec<Value>,
    /// The largest distance from an expected value, if anything was compared.
    pub error: Option<f64>,
    /// What of the case was left out, and why.
    pub note: Option<String>,
    /// Whether the device is gone.
    pub device_lost: bool,
}

/// Makes a case's graph, tensors and expectations.
fn build(suite: &Suite, spec: &Spec) -> std::result::Result<Case, Stop> {
    let mut case = Case::default();
    match suite.format {
        "onnx" => onnx::build(&mut case, &suite.data, &spec.json)?,
        "gguf" => gguf::build(&mut case, &suite.data, spec)?,
        "attention" => attention::build(&mut case, &suite.data, &spec.json)?,
        "misc" => misc::build(&mut case, &suite.data, &spec.json)?,
        "quant" => quant::build(&mut case, &suite.data, &spec.json)?,
        "rwkv7" => rwkv7::build(&mut case, &suite.data, &spec.json)?,
        _ => return Err(Stop::Unsupported(format!("there is no op `{}`", spec.op))),
    }
    if case.expected.is_empty() { Err(Stop::Wrong("nothing is expected".into())) } else { Ok(case) }
}

/// Runs a case and judges it.
pub(super) fn run<M: Machine>(machine: &M, suite: &Suite, spec: &Spec) -> Outcome {
    let mut outcome = Outcome::default();
    let case = match build(suite, spec) {
        Ok(case) => case,
        Err(Stop::Unsupported(why)) => return Outcome { unsupported: Some(why), ..outcome },
        Err(Stop::Wrong(why)) => {
            outcome.failures.push(json!({ "what": why }));
            return outcome;
        }
    };
    outcome.note.clone_from(&case.note);
    match compare(machine, &case, &mut outcome) {
        Ok(()) => {}
        Err(e @ (Error::NoKernel(_) | Error::Limit(_) | Error::OutOfMemory(_))) => {
            outcome.unsupported = Some(e.to_string());
        }
        Err(e) => {
            outcome.device_lost = matches!(e, Error::DeviceLost(_));
            outcome.failures.push(json!({ "what": e.to_string() }));
        }
    }
    outcome
}

fn compare<M: Machine>(machine: &M, case: &Case, outcome: &mut Outcome) -> Result<()> {
    let call = Call::default();
    let graph = &case.graph;
    let got = execute(machine, case, &call)?;

    let mut values = cpu::load(graph, &case.tensors, &call)?;
    let nodes: Vec<usize> = (0..graph.nodes().len()).collect();
    cpu::evaluate_nodes(graph, &nodes, &mut values, &call, numerics(case))?;
    for ((expected, id), got) in case.expected.iter().zip(graph.outputs()).zip(&got) {
        let dtype = graph.value(*id).dtype;
        let Some(own) = &values[id.index()] else { continue };
        let want = wanted(expected, own);
        let got = got.to_f64();
        outcome.error = Some(distance(&got, &want.value).max(outcome.error.unwrap_or(0.0)));
        outcome.judged(&format!("`{}`", expected.name), &judge(&got, &want, dtype));
        let what = format!("reference: `{}` of our CPU kernel", expected.name);
        // It is as far off as it says, which is nothing where its formula is exact.
        let error = want.error.iter().zip(&own.error).map(|(a, b)| a + b).collect();
        outcome.judged(&what, &judge(&own.value, &Approx { error, ..want }, dtype));
    }
    Ok(())
}

/// Which function the case's kernels compute.
fn numerics(case: &Case) -> Numerics {
    case.only.map_or(Numerics::F32, |(_, numerics)| numerics)
}

/// The outputs of the case's graph on a device.
fn execute<M: Machine>(machine: &M, case: &Case, call: &Call) -> Result<Vec<Tensor>> {
    let mut policy = Policy { numerics: numerics(case), ..Policy::default() };
    policy.kernel = case.only.map(|(kernel, _)| kernel.to_owned());
    let plan = plan(&case.graph, machine.profile(), &policy)?;
    let mut loaded = machine.load(&plan, &case.tensors, OWN)?;
    let mut bytes = Vec::new();
    for (i, buffer) in plan.buffers.iter().enumerate() {
        match buffer.role {
            Role::Input(port) | Role::State(port) => {
                let port = &plan.inputs[port];
                let tensor = case.tensors.get(&port.name).ok_or_else(|| {
                    Error::Argument(format!("the plan has an input `{}`, but the case has none", port.name))
                })?;
                bytes.push((i, port.pack(&plan.scalars, call, tensor)?));
            }
            Role::Weight(weight) => bytes.push((i, prepare(&plan.weights[weight], &case.tensors)?)),
            Role::Output(_) | Role::Scratch => {}
        }
    }
    let fills: Vec<_> = bytes.iter().map(|(i, bytes)| (*i, Fill::Bytes(bytes))).collect();
    let reads: Vec<usize> = plan.outputs.iter().map(|port| port.buffer).collect();
    let read = machine.run(&mut loaded, call, &fills, &reads)?;
    plan.outputs.iter().zip(&read).map(|(port, bytes)| port.unpack(call, bytes)).collect()
}

/// The expected values with what is allowed around each.
fn wanted(expected: &Expected, own: &Approx) -> Approx {
    match expected.bound {
        Bound::Tolerance { rtol, atol } => within(&own.shape, &expected.value, rtol, atol),
        Bound::Ours => {
            let mut want = Approx { value: expected.value.clone(), ..own.clone() };
            want.error.iter_mut().zip(&expected.slack).for_each(|(e, slack)| *e += slack);
            want
        }
    }
}

/// The largest distance; infinite where only one of two is a number.
fn distance(got: &[f64], want: &[f64]) -> f64 {
    let apart = |(got, want): (&f64, &f64)| {
        let same = got == want || got.is_nan() && want.is_nan();
        let d = (got - want).abs();
        if same {
            0.0
        } else if d.is_nan() {
            f64::INFINITY
        } else {
            d
        }
    };
    got.iter().zip(want).map(apart).fold(0.0, f64::max)
}

impl Outcome {
    fn judged(&mut self, what: &str, verdict: &Verdict) {
        if verdict.passed() {
            return;
        }
        let first = verdict.first_bad.map(|b| {
            json!({
                "index": b.index,
                "got": number(b.got),
                "expected": number(b.want),
                "allowed": number(b.allowed),
            })
        });
        self.failures.push(json!({
            "what": what,
            "first_bad": first,
            "bad": verdict.bad,
            "elements": verdict.elements,
            "worst": number(verdict.worst),
            "pattern": verdict.pattern,
        }));
    }

    /// The result as the child tells it.
    pub fn to_json(&self) -> Value {
        let status = match (&self.unsupported, self.failures.is_empty()) {
            (Some(_), _) => "unsupported",
            (None, true) => "pass",
            (None, false) => "fail",
        };
        json!({
            "status": status,
            "reason": self.unsupported.as_ref().or(self.note.as_ref()),
            "error": self.error.map(number),
            "failures": self.failures,
            "device_lost": self.device_lost,
        })
    }
}

/// A number, or its name if JSON has no way to write it.
fn number(v: f64) -> Value {
    if v.is_finite() { json!(v) } else { json!(v.to_string()) }
}

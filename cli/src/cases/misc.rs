//! The `misc` suite: norms, softmax, activations, gated units, products with endings, rotary embeddings.

use serde_json::Value;
use tachylite::ValueId;
use tachylite::op::Attr;

use super::attend::log_sum;
use super::build::{Bound, Built, Case, Stop, unsupported, wrong};
use super::data::{Data, Host};
use super::quant::Parts;

mod loss;
mod rope;
mod topk;

/// Builds the graph of a case.
pub(super) fn build(case: &mut Case, data: &Data, json: &Value) -> Built<()> {
    let parts = Parts { data, json };
    let kind = json.get("kind").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "rope" => return rope::build(case, &parts),
        "cross_entropy" => return loss::build(case, &parts),
        "topk" => return topk::build(case, &parts),
        _ => {}
    }
    let function: fn(&mut Case, &Parts<'_>, &Given, &str) -> Built<Option<ValueId>> = match kind {
        "norms" => norm,
        "softmax" => softmax,
        "activations" => activation,
        "glu" => glu,
        "matmul_nt" => product,
        other => return unsupported(format!("there is no op `{other}`")),
    };
    let Some(outputs) = json.get("outputs").and_then(Value::as_object) else {
        return wrong("outputs: must be an object");
    };
    let names: Vec<&String> = outputs.keys().filter(|name| *name != "absdot").collect();
    let kept = if kind == "activations" { Some(finite(case, &parts, &names)?) } else { None };
    let pick = |host: Host| kept.as_ref().map_or(host.clone(), |kept| host.picked(kept));
    let given = Given::new(case, &parts, &pick)?;
    for name in names {
        let expected = pick(parts.host("outputs", name)?);
        let Some(y) = function(case, &parts, &given, name)? else {
            return unsupported(format!("output {name}"));
        };
        let y = if case.shape(y).iter().product::<usize>() == expected.len() {
            case.reshape(y, &expected.shape)?
        } else {
            y
        };
        case.expect(name, y, &expected, Bound::Ours)?;
        if kind == "activations" {
            let x = pick(parts.host("inputs", "x")?).numbers().map_err(Stop::Unsupported)?;
            case.slack(x.into_iter().map(|x| oracle_slack(name, x)).collect());
        }
    }
    Ok(())
}

/// How far off the expected value may be from what our graph means. The makers' f64 tanh approximation of
/// gelu cancels in 1 + tanh, and our factor 1.702 is an f32.
fn oracle_slack(name: &str, x: f64) -> f64 {
    match name {
        "gelu_tanh" => x.abs() * f64::EPSILON,
        "quick_gelu" => {
            let s = 1.0 / (1.0 + (-1.702 * x).exp());
            x * x * 1.702 * s * (1.0 - s) / 16_777_216.0
        }
        _ => 0.0,
    }
}

/// The places where everything is finite, in f32 too: of infinities and overflow WGSL promises nothing.
fn finite(case: &mut Case, parts: &Parts<'_>, outputs: &[&String]) -> Built<Vec<usize>> {
    let x = parts.host("inputs", "x")?;
    let mut kept: Vec<usize> = (0..x.len()).collect();
    let all = outputs.iter().map(|name| parts.host("outputs", name)).chain([Ok(x.clone())]);
    for host in all {
        let values = host?.numbers().map_err(Stop::Unsupported)?;
        kept.retain(|i| values.get(*i).is_some_and(|v| v.abs() <= f64::from(f32::MAX)));
    }
    if kept.len() < x.len() {
        let left = x.len() - kept.len();
        case.note = Some(format!("{left} of {} elements are left out: they are not finite in f32", x.len()));
    }
    Ok(kept)
}

/// The inputs of a case.
struct Given(Vec<(String, ValueId)>);

impl Given {
    fn new(case: &mut Case, parts: &Parts<'_>, pick: &dyn Fn(Host) -> Host) -> Built<Self> {
        let Some(inputs) = parts.json.get("inputs").and_then(Value::as_object) else {
            return wrong("inputs: must be an object");
        };
        let carried = |name: &String| -> Built<(String, ValueId)> {
            // Outputs have names of their own.
            let id = case.carried(&format!("{name}_in"), &pick(parts.host("inputs", name)?))?;
            Ok((name.clone(), id))
        };
        Ok(Self(inputs.keys().map(carried).collect::<Built<_>>()?))
    }

    fn get(&self, name: &str) -> Built<ValueId> {
        match self.0.iter().find(|(own, _)| own == name) {
            Some((_, id)) => Ok(*id),
            None => wrong(format!("inputs.{name} is missing")),
        }
    }
}

fn norm(case: &mut Case, parts: &Parts<'_>, given: &Given, name: &str) -> Built<Option<ValueId>> {
    let (x, w, eps) = (given.get("x")?, given.get("weight")?, parts.param("eps")? as f32);
    Ok(Some(match name {
        "rmsnorm" => case.graph.rms_norm(x, w, eps)?,
        "layernorm" => case.graph.layer_norm(x, w, given.get("bias")?, eps)?,
        "add_rmsnorm" => {
            let sum = case.graph.add(x, given.get("residual")?)?;
            case.graph.rms_norm(sum, w, eps)?
        }
        "add_sum" => case.graph.add(x, given.get("residual")?)?,
        "l2norm" => case.graph.l2_normalize(x, parts.param("l2_eps")? as f32)?,
        _ => return Ok(None),
    }))
}

fn softmax(case: &mut Case, _: &Parts<'_>, given: &Given, name: &str) -> Built<Option<ValueId>> {
    let x = given.get("x")?;
    let last = case.shape(x).len() - 1;
    Ok(Some(match name {
        "softmax" => case.graph.softmax(x, last)?,
        "log_softmax" => case.graph.log_softmax(x, last)?,
        "logsumexp" => log_sum(case, x, last)?,
        _ => return Ok(None),
    }))
}

fn activation(case: &mut Case, _: &Parts<'_>, given: &Given, name: &str) -> Built<Option<ValueId>> {
    let x = given.get("x")?;
    let g = &mut case.graph;
    Ok(Some(match name {
        "sigmoid" => g.sigmoid(x)?,
        "tanh" => g.tanh(x)?,
        "relu" => g.relu(x)?,
        "relu_sq" => {
            let y = g.relu(x)?;
            g.square(y)?
        }
        "silu" => g.silu(x)?,
        "gelu_erf" => g.gelu(x)?,
        "gelu_tanh" => g.gelu_tanh(x)?,
        "quick_gelu" => {
            let gate = g.scale(x, Attr::F32(1.702))?;
            let gate = g.sigmoid(gate)?;
            g.mul(x, gate)?
        }
        "softplus" => g.softplus(x)?,
        "exp" => g.exp(x)?,
        "exp_neg_exp" => {
            let y = g.exp(x)?;
            let y = g.neg(y)?;
            g.exp(y)?
        }
        "mish" => {
            let gate = g.softplus(x)?;
            let gate = g.tanh(gate)?;
            g.mul(x, gate)?
        }
        "elu" => g.elu(x, 1.0)?,
        "hardswish" => {
            // By 6 at the end: a sixth is no f32.
            let gate = g.offset(x, Attr::F32(3.0))?;
            let gate = g.clamp(gate, 0.0, 6.0)?;
            let y = g.mul(x, gate)?;
            let six = case.numbers("six", &[1], &[6.0])?;
            case.graph.div(y, six)?
        }
        _ => return Ok(None),
    }))
}

fn glu(case: &mut Case, _: &Parts<'_>, given: &Given, name: &str) -> Built<Option<ValueId>> {
    let (gate, up) = (given.get("gate")?, given.get("up")?);
    let gate = match name {
        "swiglu" => case.graph.silu(gate)?,
        "geglu_erf" => case.graph.gelu(gate)?,
        "reglu" => case.graph.relu(gate)?,
        _ => return Ok(None),
    };
    Ok(Some(case.graph.mul(gate, up)?))
}

fn product(case: &mut Case, _: &Parts<'_>, given: &Given, name: &str) -> Built<Option<ValueId>> {
    let y = case.graph.matmul(given.get("a")?, given.get("b")?)?;
    if name == "y" {
        return Ok(Some(y));
    }
    let y = case.graph.add(y, given.get("bias")?)?;
    Ok(Some(match name {
        "y_bias" => y,
        "y_bias_gelu_erf" => case.graph.gelu(y)?,
        "y_bias_silu" => case.graph.silu(y)?,
        "y_bias_residual" => case.graph.add(y, given.get("residual")?)?,
        _ => return Ok(None),
    }))
}

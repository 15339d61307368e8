//! The `quant` suite: products with quantised weights.

use serde_json::Value;
use tachylite::DType;

use super::build::{Bound, Built, Case, Stop, carry, carry_quantized, unsupported};
use super::data::{Data, Host};

/// Builds the graph of a case.
pub(super) fn build(case: &mut Case, data: &Data, json: &Value) -> Built<()> {
    let kind = json.get("kind").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "groupwise_matmul" => groupwise(case, &Parts { data, json }),
        other => unsupported(format!("there is no op `{other}`")),
    }
}

/// The tensors of a case, by name.
pub(super) struct Parts<'a> {
    pub data: &'a Data,
    pub json: &'a Value,
}

impl Parts<'_> {
    fn find(&self, part: &str, name: &str) -> Option<&Value> {
        self.json.get(part)?.get(name).filter(|v| !v.is_null())
    }

    /// An input or output, which must be there.
    pub fn host(&self, part: &str, name: &str) -> Built<Host> {
        let what = format!("{part}.{name}");
        match self.find(part, name) {
            Some(reference) => self.data.referred(&what, reference).map_err(Stop::Wrong),
            None => Err(Stop::Wrong(format!("{what} is missing"))),
        }
    }

    /// An input or output that may be left out.
    pub fn maybe(&self, part: &str, name: &str) -> Built<Option<Host>> {
        if self.find(part, name).is_some() { self.host(part, name).map(Some) } else { Ok(None) }
    }

    /// A number among the parameters.
    pub fn param(&self, name: &str) -> Built<f64> {
        let value = self.find("params", name);
        let number = |v: &Value| v.as_f64().or_else(|| v.as_bool().map(|b| f64::from(u8::from(b))));
        value.and_then(number).ok_or_else(|| Stop::Wrong(format!("params.{name}: must be a number")))
    }
}

/// W = (q - zero)·scale, with a scale for each group of K.
fn groupwise(case: &mut Case, parts: &Parts<'_>) -> Built<()> {
    if parts.param("bits")? != 8.0 {
        return unsupported(format!("weights of {} bits", parts.param("bits")?));
    }
    if parts.param("act_order")? != 0.0 {
        return unsupported("attribute act_order");
    }
    let (q, zeros, scales) =
        (parts.host("inputs", "q")?, parts.host("inputs", "zeros")?, parts.host("inputs", "scales")?);
    let (&[n, k], &[_, groups]) = (&q.shape[..], &scales.shape[..]) else {
        return Err(Stop::Wrong("q and scales must have 2 axes".into()));
    };
    if groups == 0 || !k.is_multiple_of(groups) || !(k / groups).is_multiple_of(32) {
        return unsupported("a last group that is not full");
    }
    // The weights as they are, multiplied; and dequantised by groups, which are an axis of their own.
    let q_tensor = carry_quantized(&q)?;
    let w = case.weight("w", q_tensor.clone())?;
    let scale = case.weight("w_scale", carry(&scales)?.cast(DType::F32)?)?;
    let zero = case.weight("w_zero", carry_quantized(&zeros)?)?;
    let x = case.carried("x", &parts.host("inputs", "x")?)?;
    let mut y = case.graph.matmul_int8(x, w, scale, Some(zero))?;
    if let Some(bias) = parts.maybe("inputs", "bias")? {
        let bias = case.carried("bias", &bias)?;
        y = case.graph.add(y, bias)?;
    }
    case.expect("y", y, &parts.host("outputs", "y")?, Bound::Ours)?;
    let by_group = |host: &Host| Ok::<_, Stop>(carry_quantized(host)?.reshape(&[n, groups, 1])?);
    let q = case.given("q", q_tensor.reshape(&[n, groups, k / groups])?)?;
    let (zeros, scales) =
        (case.given("zeros", by_group(&zeros)?)?, case.given("scales", by_group(&scales)?)?);
    let w = case.graph.dequantize(q, scales, Some(zeros), DType::F32)?;
    let w = case.reshape(w, &[n, k])?;
    case.expect("w_dequant", w, &parts.host("outputs", "w_dequant")?, Bound::Ours)
}

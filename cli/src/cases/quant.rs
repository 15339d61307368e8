//! The `quant` suite: products with quantised weights.

use safetensors::tensor::Dtype;
use serde_json::Value;
use tachylite::formats::groups::{self, GptqVersion, Grouped};
use tachylite::plan::Numerics;
use tachylite::{DType, Graph, Tensor};

use super::build::{Bound, Built, Case, Stop, unsupported, wrong};
use super::data::{Data, Host};

/// Builds the graph of a case.
pub(super) fn build(case: &mut Case, data: &Data, json: &Value) -> Built<()> {
    let kind = json.get("kind").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "groupwise_matmul" => groupwise(case, &Parts { data, json }),
        "w8a8_dynamic" => dynamic(case, &Parts { data, json }, DType::I8),
        "w8a8_asym_dynamic" => dynamic(case, &Parts { data, json }, DType::U8),
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

/// A tensor of a suite, its bytes as they are.
fn raw(host: &Host) -> Built<Tensor> {
    let dtype = match host.stored {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::I8 => DType::I8,
        Dtype::U8 => DType::U8,
        Dtype::I32 => DType::I32,
        Dtype::U32 => DType::U32,
        _ => return unsupported(format!("type {}", host.logical)),
    };
    Ok(Tensor::new(dtype, &host.shape, host.bytes.clone())?)
}

/// W = (q - zero)·scale, with a scale for each group of K.
fn groupwise(case: &mut Case, parts: &Parts<'_>) -> Built<()> {
    let expected = parts.host("outputs", "w_dequant")?;
    let w = weights(parts, &expected)?;
    let x = case.carried("x", &parts.host("inputs", "x")?)?;
    let mut y = case.graph.matmul_grouped(x, "w", &w)?;
    case.tensors.extend(w.tensors("w"));
    if let Some(bias) = parts.maybe("inputs", "bias")? {
        let bias = case.carried("bias", &bias)?;
        y = case.graph.add(y, bias)?;
    }
    case.expect("y", y, &parts.host("outputs", "y")?, Bound::Ours)?;
    // And dequantised on the device, the scale and zero point of each k gathered from its group.
    let [q, zeros, scales] = ["q", "zeros", "scales"].map(|name| parts.host("inputs", name));
    let [q, zeros, scales] = [raw(&q?)?, raw(&zeros?)?, raw(&scales?)?];
    let &[_, k] = q.shape() else { return wrong("inputs.q: must have 2 axes") };
    let group_of = match parts.maybe("inputs", "g_idx")? {
        Some(g_idx) => raw(&g_idx)?.to_f64(),
        None => {
            let size = parts.param("group_size")?.max(1.0);
            (0..k).map(|i| (i as f64 / size).floor()).collect()
        }
    };
    let group_of = case.given("group_of", Tensor::from_f64(DType::U32, &[k], &group_of)?)?;
    let (q, zeros, scales) =
        (case.given("q", q)?, case.given("zeros", zeros)?, case.given("scales", scales)?);
    let (zeros, scales) = (case.graph.columns(zeros, group_of)?, case.graph.columns(scales, group_of)?);
    let w = case.graph.dequantize(q, scales, Some(zeros), DType::F32)?;
    case.expect("w_dequant", w, &expected, Bound::Ours)
}

/// The weights of a case out of every packing that it has, which must all be the same, and what they stand for.
fn weights(parts: &Parts<'_>, expected: &Host) -> Built<Grouped> {
    let bits = parts.param("bits")? as usize;
    let get = |name: &str| parts.maybe("inputs", name)?.map(|host| raw(&host)).transpose();
    let (scales, rows) = (get("scales")?, get("scales_t")?);
    let (zeros, g_idx) = (get("zeros")?, get("g_idx")?);
    let mut all: Vec<(&str, Grouped)> = Vec::new();
    if let (Some(q), Some(s)) = (get("gptq_qweight")?, &rows) {
        for (name, version) in [("gptq_qzeros_v1", GptqVersion::V1), ("gptq_qzeros_v2", GptqVersion::V2)] {
            let Some(z) = get(name)? else { continue };
            all.push((name, groups::from_gptq(version, bits, [&q, &z, s], g_idx.as_ref())?));
        }
    }
    if let (Some(q), Some(z), Some(s)) = (get("awq_qweight")?, get("awq_qzeros")?, &rows) {
        all.push(("awq_qweight", groups::from_awq([&q, &z, s])?));
    }
    if let (Some(q), Some(s)) = (get("u32_row_major")?, &scales) {
        all.push(("u32_row_major", groups::from_rows(bits, [&q, s], zeros.as_ref(), g_idx.as_ref())?));
    }
    if let (Some(b), Some(s)) = (get("mnb_b")?, &scales) {
        let zeros = get("mnb_zero_points")?;
        let k = expected.shape.last().copied().unwrap_or(0);
        all.push(("mnb_b", groups::from_matmul_nbits(bits, k, [&b, s], zeros.as_ref())?));
    }
    let want = expected.numbers().map_err(Stop::Unsupported)?;
    for (name, w) in &all {
        let got = w.dequantize()?.to_f64();
        if got.len() != want.len() {
            return wrong(format!("{name}: {} weights, but {} are expected", got.len(), want.len()));
        }
        if let Some(i) = (0..want.len()).find(|i| got[*i] != want[*i]) {
            return wrong(format!("{name}: weight {i} is {}, but {} is expected", got[i], want[i]));
        }
        if w.tensors("w") != all[0].1.tensors("w") {
            return wrong(format!("{name}: it is repacked otherwise than {}", all[0].0));
        }
    }
    match all.into_iter().next() {
        Some((_, w)) => Ok(w),
        None => unsupported("a packing of weights that is not known"),
    }
}

/// Rows of x rounded to 8 bits, each by a scale found from it, times weights of 8 bits: sums are whole numbers. As
/// ops of its own, so that everything in between can be looked at; and as the kernel that does it all by itself.
fn dynamic(case: &mut Case, parts: &Parts<'_>, dtype: DType) -> Built<()> {
    let x = case.carried("x", &parts.host("inputs", "x")?)?;
    let w = case.weight("w", raw(&parts.host("inputs", "w")?)?)?;
    let w_scale = case.weight("w_scale", raw(&parts.host("inputs", "w_scale")?)?)?;
    let bias = parts.maybe("inputs", "bias")?.map(|bias| case.carried("bias", &bias)).transpose()?;
    let g = &mut case.graph;
    let biased = |g: &mut Graph, y| bias.map_or(Ok(y), |bias| g.add(y, bias));
    let (q, scale, zero) = g.quantize_rows(x, dtype)?;
    // Twice: sums that leave, and sums that are scaled where they are made.
    let acc = g.matmul_integer(q, w, zero, None)?;
    let y = g.matmul_integer(q, w, zero, None)?;
    let y = g.cast(y, DType::F32)?;
    let y = g.mul(y, scale)?;
    let y = g.mul(y, w_scale)?;
    let y = biased(g, y)?;
    let host = |name: &str| parts.host("outputs", name);
    if dtype == DType::I8 {
        let fused = g.matmul_int8(x, w, w_scale, None)?;
        let fused = biased(g, fused)?;
        case.only("matmul.int8", Numerics::Int8Activations);
        case.expect("y_fused", fused, &host("y")?, Bound::Ours)?;
    }
    for (name, value) in [
        ("x_q", Some(q)),
        ("x_scale", Some(scale)),
        ("x_zero_point", zero),
        ("acc", Some(acc)),
        ("y", Some(y)),
    ] {
        let (Some(value), Some(expected)) = (value, parts.maybe("outputs", name)?) else { continue };
        let value = case.reshape(value, &expected.shape)?;
        case.expect(name, value, &expected, Bound::Ours)?;
    }
    Ok(())
}

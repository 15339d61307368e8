//! The `gguf` suite: blocks as they lie in files.

use tachylite::formats::q8_0;
use tachylite::{DType, Tensor};

use super::build::{Bound, Built, Case, Stop, carry, unsupported, wrong};
use super::data::{Data, Host};
use super::suite::Spec;

/// Builds the graph of a case: one type of blocks, dequantised, multiplied or made.
pub(super) fn build(case: &mut Case, data: &Data, spec: &Spec) -> Built<()> {
    let name = spec.json.get("type").and_then(|v| v.as_str()).unwrap_or_default();
    if name != "Q8_0" {
        return unsupported(format!("type {name}"));
    }
    let key = |path: &[&str]| {
        let value = path.iter().try_fold(&spec.json, |v, field| v.get(field)).and_then(|v| v.as_str());
        value.map_or_else(|| wrong(format!("types.{name}.{}: must be text", path.join("."))), Ok)
    };
    let tensor = |path: &[&str]| data.tensor(&path.join("."), key(path)?).map_err(Stop::Wrong);
    match spec.op.as_str() {
        "dequantise" => dequantise(case, &tensor(&["blocks"])?, &tensor(&["expected"])?),
        "matmul" => {
            let [w, x, y] =
                [tensor(&["matmul", "w_blocks"])?, tensor(&["matmul", "x"])?, tensor(&["matmul", "y"])?];
            let w = weight(case, &w)?;
            let x = case.carried("x", &x)?;
            let got = case.graph.matmul(x, w)?;
            case.expect("y", got, &y, Bound::Ours)
        }
        _ => quantise(case, &tensor(&["quantise", "x"])?, &tensor(&["quantise", "expected_blocks"])?),
    }
}

/// Rows of whole blocks as a weight.
fn weight(case: &mut Case, blocks: &Host) -> Built<tachylite::ValueId> {
    let [rows, bytes] = blocks.shape[..] else { return wrong(format!("`{}`: must have 2 axes", blocks.key)) };
    let values = bytes / DType::Q8_0.block_bytes() * DType::Q8_0.block();
    let tensor = Tensor::new(DType::Q8_0, &[rows, values], blocks.bytes.clone())?;
    case.weight("w", tensor)
}

/// Wᵀ = I·Wᵀ: each sum has one term, so nothing but the format shows.
fn dequantise(case: &mut Case, blocks: &Host, expected: &Host) -> Built<()> {
    let w = weight(case, blocks)?;
    let width = case.shape(w)[1];
    if width > 4096 {
        return wrong(format!("`{}`: rows of {width} values, but at most 4096 are dequantised", blocks.key));
    }
    let one: Vec<f64> = (0..width * width).map(|i| f64::from(u8::from(i / width == i % width))).collect();
    let identity = case.numbers("identity", &[width, width], &one)?;
    let y = case.graph.matmul(identity, w)?;
    let y = case.swap(y, 0, 1)?;
    case.expect("values", y, expected, Bound::Ours)
}

/// Blocks are made on the host; their bytes go through the device as numbers.
fn quantise(case: &mut Case, x: &Host, expected: &Host) -> Built<()> {
    let blocks = q8_0::quantize(&carry(x)?)?.to_bytes();
    let bytes: Vec<f64> = blocks.iter().map(|b| f64::from(*b)).collect();
    if bytes.len() != expected.len() {
        return wrong(format!("{} bytes, but {} are expected", bytes.len(), expected.len()));
    }
    let made = case.given("blocks", Tensor::from_f64(DType::U8, &expected.shape, &bytes)?)?;
    case.expect("bytes", made, expected, Bound::Ours)
}

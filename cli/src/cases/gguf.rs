//! The `gguf` suite: blocks as they lie in files.

use tachylite::{DType, Tensor, formats, ops};

use super::build::{Bound, Built, Case, Stop, carry, unsupported, wrong};
use super::data::{Data, Host};
use super::suite::Spec;

/// Builds the graph of a case: one type of blocks, dequantised, multiplied or made.
pub(super) fn build(case: &mut Case, data: &Data, spec: &Spec) -> Built<()> {
    let name = spec.json.get("type").and_then(|v| v.as_str()).unwrap_or_default();
    let Some(dtype) = DType::parse(&name.to_lowercase()) else { return unsupported(format!("type {name}")) };
    let key = |path: &[&str]| {
        let value = path.iter().try_fold(&spec.json, |v, field| v.get(field)).and_then(|v| v.as_str());
        value.map_or_else(|| wrong(format!("types.{name}.{}: must be text", path.join("."))), Ok)
    };
    let tensor = |path: &[&str]| data.tensor(&path.join("."), key(path)?).map_err(Stop::Wrong);
    match spec.op.as_str() {
        "dequantise" => dequantise(case, dtype, &tensor(&["blocks"])?, &tensor(&["expected"])?),
        "matmul" => {
            let [w, x, y] =
                [tensor(&["matmul", "w_blocks"])?, tensor(&["matmul", "x"])?, tensor(&["matmul", "y"])?];
            let w = weight(case, dtype, &w)?;
            let x = case.carried("x", &x)?;
            let got = case.graph.matmul(x, w)?;
            case.expect("y", got, &y, Bound::Ours)
        }
        _ => quantise(case, dtype, &tensor(&["quantise", "x"])?, &tensor(&["quantise", "expected_blocks"])?),
    }
}

/// Rows of whole blocks as a weight. Types that no kernel reads are dequantised before, once.
fn weight(case: &mut Case, dtype: DType, blocks: &Host) -> Built<tachylite::ValueId> {
    let [rows, bytes] = blocks.shape[..] else { return wrong(format!("`{}`: must have 2 axes", blocks.key)) };
    let values = bytes / dtype.block_bytes() * dtype.block();
    let tensor = Tensor::new(dtype, &[rows, values], blocks.bytes.clone())?;
    let embed = ops::ALL.iter().find(|op| op.name == "embed");
    let is_read = embed.is_some_and(|op| op.inputs[1].dtypes.contains(&dtype));
    if !is_read {
        case.note = Some(format!("{dtype} is dequantised on the host, since no kernel reads it"));
    }
    case.weight("w", if is_read { tensor } else { tensor.cast(DType::F32)? })
}

/// Rows of a table, every one of them once.
fn dequantise(case: &mut Case, dtype: DType, blocks: &Host, expected: &Host) -> Built<()> {
    let w = weight(case, dtype, blocks)?;
    let rows = case.shape(w)[0];
    let numbers: Vec<u32> = (0..rows as u32).collect();
    let rows = case.given("rows", Tensor::from_u32(&[rows], &numbers)?)?;
    let values = case.graph.embed(&[(rows, w)])?;
    case.expect("values", values, expected, Bound::Ours)
}

/// Blocks are made on the host; their bytes go through the device as numbers.
fn quantise(case: &mut Case, dtype: DType, x: &Host, expected: &Host) -> Built<()> {
    let blocks = formats::quantize(dtype, &carry(x)?)?.to_bytes();
    let bytes: Vec<f64> = blocks.iter().map(|b| f64::from(*b)).collect();
    if bytes.len() != expected.len() {
        return wrong(format!("{} bytes, but {} are expected", bytes.len(), expected.len()));
    }
    let made = case.given("blocks", Tensor::from_f64(DType::U8, &expected.shape, &bytes)?)?;
    case.expect("bytes", made, expected, Bound::Ours)
}

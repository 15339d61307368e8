//! The `gguf` suite: blocks as they lie in files.

use tachylite::{DType, Tensor, ValueId, formats, ops};

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

/// Rows of whole blocks as a weight. Types that no product reads are dequantised before, on the device.
fn weight(case: &mut Case, dtype: DType, blocks: &Host) -> Built<ValueId> {
    let [rows, bytes] = blocks.shape[..] else { return wrong(format!("`{}`: must have 2 axes", blocks.key)) };
    if !is_read(dtype) {
        return unpacked(case, dtype, blocks);
    }
    let values = bytes / dtype.block_bytes() * dtype.block();
    case.weight("w", Tensor::new(dtype, &[rows, values], blocks.bytes.clone())?)
}

fn is_read(dtype: DType) -> bool {
    let embed = ops::ALL.iter().find(|op| op.name == "embed");
    embed.is_some_and(|op| op.inputs[1].dtypes.contains(&dtype))
}

/// Blocks from their bytes, by the kernel that does nothing else.
fn unpacked(case: &mut Case, dtype: DType, blocks: &Host) -> Built<ValueId> {
    let bytes = case.weight("blocks", Tensor::new(DType::U8, &blocks.shape, blocks.bytes.clone())?)?;
    Ok(case.graph.dequantize_blocks(bytes, dtype, DType::F32)?)
}

/// By themselves, where they are blocks; and as rows of a table, every one of them once, where tables are read.
fn dequantise(case: &mut Case, dtype: DType, blocks: &Host, expected: &Host) -> Built<()> {
    if dtype.is_blocks() {
        let values = unpacked(case, dtype, blocks)?;
        case.expect("unpacked", values, expected, Bound::Ours)?;
    }
    if !is_read(dtype) {
        return Ok(());
    }
    let w = weight(case, dtype, blocks)?;
    let rows = case.shape(w)[0];
    let numbers: Vec<u32> = (0..rows as u32).collect();
    let rows = case.given("rows", Tensor::from_u32(&[rows], &numbers)?)?;
    let values = case.graph.embed(&[(rows, w)])?;
    case.expect("values", values, expected, Bound::Ours)
}

/// Blocks are made on the device. F16 and BF16 are, on the host; their bytes go through the device as numbers.
fn quantise(case: &mut Case, dtype: DType, x: &Host, expected: &Host) -> Built<()> {
    if dtype.is_blocks() {
        let x = case.carried("x", x)?;
        let made = case.graph.quantize_blocks(x, dtype)?;
        return case.expect("bytes", made, expected, Bound::Ours);
    }
    let blocks = formats::quantize(dtype, &carry(x)?)?.to_bytes();
    let bytes: Vec<f64> = blocks.iter().map(|b| f64::from(*b)).collect();
    if bytes.len() != expected.len() {
        return wrong(format!("{} bytes, but {} are expected", bytes.len(), expected.len()));
    }
    let made = case.given("blocks", Tensor::from_f64(DType::U8, &expected.shape, &bytes)?)?;
    case.expect("bytes", made, expected, Bound::Ours)
}

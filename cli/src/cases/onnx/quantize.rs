//! To whole numbers of few bits and back.

use tachylite::ops::quantize::Rounding;
use tachylite::{DType, ValueId};

use super::{Node, product};
use crate::cases::build::{Bound, Built, unsupported, wrong};

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    match n.op.as_str() {
        "DequantizeLinear" => dequantize(n)?,
        "QuantizeLinear" => quantize(n)?,
        "DynamicQuantizeLinear" => dynamic(n)?,
        "QLinearMatMul" => matmul(n)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The range of a type of whole numbers up to 16 bits; others are not exact in f32, or none.
fn range(logical: &str) -> Built<(f64, f64)> {
    Ok(match logical {
        "i8" => (-128.0, 127.0),
        "u8" => (0.0, 255.0),
        "i4" => (-8.0, 7.0),
        "u4" => (0.0, 15.0),
        "i2" => (-2.0, 1.0),
        "u2" => (0.0, 3.0),
        "i16" => (-32768.0, 32767.0),
        "u16" => (0.0, 65535.0),
        other => return unsupported(format!("type {other}")),
    })
}

/// `x`, its scale and its zero point, so that they broadcast: one scale, one for each place of `axis`,
/// or one for each block of neighbours along it.
struct Parts {
    x: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    shape: Vec<usize>,
}

fn parts(n: &mut Node<'_>, x: ValueId) -> Built<Parts> {
    let shape = n.case.shape(x);
    let scale = n.x(1)?;
    let zero = if n.maybe(2).is_some() { Some(n.quantized(2)?) } else { None };
    let own = n.case.shape(scale);
    if own.iter().product::<usize>() == 1 {
        let flat = |n: &mut Node<'_>, v: ValueId| n.case.reshape(v, &[1]);
        let (scale, zero) = (flat(n, scale)?, zero.map(|z| flat(n, z)).transpose()?);
        return Ok(Parts { x, scale, zero, shape });
    }
    let at = n.axis(1, shape.len())?;
    let block = usize::try_from(n.int("block_size", 0)?).unwrap_or(0);
    let (split, like) = if block == 0 {
        (shape.clone(), [own.clone(), vec![1; shape.len() - at - 1]].concat())
    } else {
        let count = shape[at].div_ceil(block);
        if own.get(at) != Some(&count) || own.len() != shape.len() {
            return wrong(format!("scales {own:?} for blocks of {block} along axis {at} of {shape:?}"));
        }
        if count * block != shape[at] {
            return unsupported("a last block that is not full");
        }
        let cut = |sizes: [usize; 2], of: &[usize]| [&of[..at], &sizes, &of[at + 1..]].concat();
        (cut([count, block], &shape), cut([count, 1], &own))
    };
    let x = n.case.reshape(x, &split)?;
    let scale = n.case.reshape(scale, &like)?;
    let zero = zero.map(|z| n.case.reshape(z, &like)).transpose()?;
    Ok(Parts { x, scale, zero, shape })
}

fn dequantize(n: &mut Node<'_>) -> Built<()> {
    range(&n.host(0)?.logical.clone())
        .or_else(|stop| if n.host(0)?.logical == "i32" { Ok((0.0, 0.0)) } else { Err(stop) })?;
    let q = n.quantized(0)?;
    let to = if n.outputs.first().and_then(Option::as_ref).is_some_and(|o| o.logical == "f16") {
        DType::F16
    } else {
        DType::F32
    };
    let p = parts(n, q)?;
    let y = n.g().dequantize(p.x, p.scale, p.zero, to)?;
    let y = n.case.reshape(y, &p.shape)?;
    n.out(0, y)
}

fn quantize(n: &mut Node<'_>) -> Built<()> {
    let Some(to) = n.outputs.first().and_then(Option::as_ref).map(|o| o.logical.clone()) else {
        return wrong("QuantizeLinear: no output");
    };
    let (low, high) = range(&to)?;
    n.floats_of(&[0, 1])?;
    let x = n.x(0)?;
    let p = parts(n, x)?;
    let y = match to.as_str() {
        "i8" => n.g().quantize(p.x, p.scale, p.zero, DType::I8, Rounding::HalfToEven)?,
        "u8" => n.g().quantize(p.x, p.scale, p.zero, DType::U8, Rounding::HalfToEven)?,
        _ => {
            let x = n.g().cast(p.x, DType::F32)?;
            let y = n.g().div(x, p.scale)?;
            let mut y = n.g().round(y)?;
            if let Some(zero) = p.zero {
                y = n.g().add(y, zero)?;
            }
            n.g().clamp(y, low as f32, high as f32)?
        }
    };
    let y = n.case.reshape(y, &p.shape)?;
    whole(n, 0, y)
}

/// uint8 with a scale and a zero point found from the tensor, whose range is made to hold 0.
fn dynamic(n: &mut Node<'_>) -> Built<()> {
    let x = n.x(0)?;
    let axes: Vec<usize> = (0..n.case.shape(x).len()).collect();
    let zero = n.constant("none", 0.0)?;
    let (high, low) = (n.g().max(x, &axes, true)?, n.g().min(x, &axes, true)?);
    let (high, low) = (n.case.reshape(high, &[1])?, n.case.reshape(low, &[1])?);
    let (high, low) = (n.g().maximum(high, zero)?, n.g().minimum(low, zero)?);
    let span = n.g().sub(high, low)?;
    let levels = n.constant("levels", 255.0)?;
    let scale = n.g().div(span, levels)?;
    let point = n.g().div(low, scale)?;
    let point = n.g().neg(point)?;
    let point = n.g().clamp(point, 0.0, 255.0)?;
    let point = n.g().round(point)?;
    let y = n.g().quantize(x, scale, Some(point), DType::U8, Rounding::HalfToEven)?;
    whole(n, 0, y)?;
    n.out(1, scale)?;
    let point = n.g().cast(point, DType::U8)?;
    whole(n, 2, point)
}

/// The product of whole numbers, which is exact, then one scale.
fn matmul(n: &mut Node<'_>) -> Built<()> {
    let to = match n.outputs.first().and_then(Option::as_ref).map(|o| o.logical.as_str()) {
        Some("i8") => DType::I8,
        Some("u8") => DType::U8,
        other => return unsupported(format!("type {}", other.unwrap_or("of no output"))),
    };
    if [1, 2, 4, 5, 6, 7].iter().any(|i| n.maybe(*i).is_none_or(|h| h.len() != 1)) {
        return unsupported("scales for rows or columns");
    }
    let sum = product::integers(n, [0, 3, 2, 5])?;
    let sum = n.g().cast(sum, DType::F32)?;
    let scales = [n.scalar(1)?, n.scalar(4)?, n.scalar(6)?].map(|s| s.unwrap_or(1.0));
    let scale = n.constant("scale", scales[2] / (scales[0] * scales[1]))?;
    let zero = n.quantized(7)?;
    let y = n.g().quantize(sum, scale, Some(zero), to, Rounding::HalfToEven)?;
    whole(n, 0, y)
}

/// Says that whole numbers are an output: where what was rounded lies at a tie, they may be either neighbour.
fn whole(n: &mut Node<'_>, i: usize, id: ValueId) -> Built<()> {
    let bound = std::mem::replace(&mut n.bound, Bound::Ours);
    n.out(i, id)?;
    n.bound = bound;
    Ok(())
}

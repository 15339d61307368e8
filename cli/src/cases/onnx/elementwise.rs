//! Ops that work element by element, and compositions of them.

use tachylite::{DType, Tensor, ValueId};

use super::Node;
use crate::cases::build::{Built, carry_quantized, unsupported, wrong};

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    let y = match n.op.as_str() {
        "Where" => {
            let (cond, a, b) = (n.x(0)?, n.x(1)?, n.x(2)?);
            n.g().select(cond, a, b)?
        }
        "Cast" | "CastLike" => cast(n)?,
        "Clip" => clip(n)?,
        "Not" => {
            let (x, zero) = (n.x(0)?, n.constant("zero", 0.0)?);
            n.g().equal(x, zero)?
        }
        "Max" | "Min" => fold(n)?,
        "Sum" | "Mean" => {
            n.floats_only()?;
            let (sum, count) = (fold(n)?, n.inputs.len());
            if n.op == "Mean" && count > 1 { n.scale(sum, 1.0 / count as f64)? } else { sum }
        }
        "And" | "Or" | "Xor" | "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" => compare(n)?,
        "Add" | "Sub" | "Mul" | "Div" | "Pow" => arithmetic(n)?,
        "PRelu" => prelu(n)?,
        _ => match unary(n)? {
            Some(y) => y,
            None => return Ok(false),
        },
    };
    n.out(0, y)?;
    Ok(true)
}

/// Functions of one tensor, with numbers as attributes.
fn unary(n: &mut Node<'_>) -> Built<Option<ValueId>> {
    const KNOWN: [&str; 28] = [
        "Abs",
        "Ceil",
        "Floor",
        "Round",
        "Neg",
        "Exp",
        "Log",
        "Sqrt",
        "Erf",
        "Reciprocal",
        "Sign",
        "Relu",
        "Sigmoid",
        "Tanh",
        "Softplus",
        "Softsign",
        "Gelu",
        "Swish",
        "Elu",
        "Selu",
        "Celu",
        "LeakyRelu",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "ThresholdedRelu",
        "Shrink",
        "SwiGLU",
    ];
    if !KNOWN.contains(&n.op.as_str()) {
        return Ok(None);
    }
    n.floats_only()?;
    let x = n.x(0)?;
    let y = match n.op.as_str() {
        "Abs" => n.g().abs(x)?,
        "Ceil" => n.g().ceil(x)?,
        "Floor" => n.g().floor(x)?,
        "Round" => n.g().round(x)?,
        "Neg" => n.g().neg(x)?,
        "Exp" => n.g().exp(x)?,
        "Log" => n.g().log(x)?,
        "Sqrt" => n.g().sqrt(x)?,
        "Erf" => n.g().erf(x)?,
        "Reciprocal" => n.g().reciprocal(x)?,
        "Sign" => n.g().sign(x)?,
        "Relu" => n.g().relu(x)?,
        "Sigmoid" => n.g().sigmoid(x)?,
        "Tanh" => n.g().tanh(x)?,
        "Softplus" => n.g().softplus(x)?,
        "LeakyRelu" => {
            let alpha = n.float("alpha", 0.01)? as f32;
            n.g().leaky_relu(x, alpha)?
        }
        "Elu" => {
            let alpha = n.float("alpha", 1.0)? as f32;
            n.g().elu(x, alpha)?
        }
        _ => composed(n, x)?,
    };
    Ok(Some(y))
}

/// Functions that are made of several of ours.
fn composed(n: &mut Node<'_>, x: ValueId) -> Built<ValueId> {
    Ok(match n.op.as_str() {
        "Gelu" => match n.text("approximate", "none").as_str() {
            "none" => n.g().gelu(x)?,
            "tanh" => n.g().gelu_tanh(x)?,
            other => return unsupported(format!("attribute approximate={other}")),
        },
        "Swish" => swish(n, x)?,
        "SwiGLU" => {
            let (gate, up) = (swish(n, x)?, n.x(1)?);
            n.g().mul(gate, up)?
        }
        "Selu" => {
            let alpha = n.float("alpha", 1.673_263_192_176_818_8)? as f32;
            let gamma = n.float("gamma", 1.050_701_022_148_132_3)?;
            let y = n.g().elu(x, alpha)?;
            n.scale(y, gamma)?
        }
        "Celu" => {
            let alpha = n.float("alpha", 1.0)?;
            let y = n.scale(x, 1.0 / alpha)?;
            let y = n.g().elu(y, 1.0)?;
            n.scale(y, alpha)?
        }
        "HardSigmoid" => {
            let (alpha, beta) = (n.float("alpha", 0.2)?, n.float("beta", 0.5)?);
            hard_sigmoid(n, x, alpha, beta)?
        }
        "HardSwish" => {
            // By 6 at the end: a sixth is no f32.
            let (gate, six) = (n.offset(x, 3.0)?, n.constant("six", 6.0)?);
            let gate = n.g().clamp(gate, 0.0, 6.0)?;
            let y = n.g().mul(x, gate)?;
            n.g().div(y, six)?
        }
        "Mish" => {
            let gate = n.g().softplus(x)?;
            let gate = n.g().tanh(gate)?;
            n.g().mul(x, gate)?
        }
        "Softsign" => {
            let below = n.g().abs(x)?;
            let below = n.offset(below, 1.0)?;
            n.g().div(x, below)?
        }
        "ThresholdedRelu" => {
            let alpha = n.float("alpha", 1.0)?;
            let (alpha, zero) = (n.constant("alpha", alpha)?, n.constant("zero", 0.0)?);
            let above = n.g().greater(x, alpha)?;
            n.g().select(above, x, zero)?
        }
        "Shrink" => {
            let (bias, lambd) = (n.float("bias", 0.0)?, n.float("lambd", 0.5)?);
            let (high, low) = (n.constant("lambd", lambd)?, n.constant("below", -lambd)?);
            let zero = n.constant("zero", 0.0)?;
            let (up, down) = (n.offset(x, bias)?, n.offset(x, -bias)?);
            let (is_high, is_low) = (n.g().greater(x, high)?, n.g().less(x, low)?);
            let y = n.g().select(is_low, up, zero)?;
            n.g().select(is_high, down, y)?
        }
        other => return unsupported(format!("there is no op `{other}`")),
    })
}

/// x·sigmoid(alpha·x).
fn swish(n: &mut Node<'_>, x: ValueId) -> Built<ValueId> {
    let alpha = n.float("alpha", 1.0)?;
    if alpha == 1.0 {
        return Ok(n.g().silu(x)?);
    }
    let gate = n.scale(x, alpha)?;
    let gate = n.g().sigmoid(gate)?;
    Ok(n.g().mul(x, gate)?)
}

fn hard_sigmoid(n: &mut Node<'_>, x: ValueId, alpha: f64, beta: f64) -> Built<ValueId> {
    let y = n.scale(x, alpha)?;
    let y = n.offset(y, beta)?;
    Ok(n.g().clamp(y, 0.0, 1.0)?)
}

/// Max, Min and Sum of any number of tensors, two at a time.
fn fold(n: &mut Node<'_>) -> Built<ValueId> {
    let mut y = n.x(0)?;
    for i in 1..n.inputs.len() {
        let x = n.x(i)?;
        y = match n.op.as_str() {
            "Max" => n.g().maximum(y, x)?,
            "Min" => n.g().minimum(y, x)?,
            _ => n.g().add(y, x)?,
        };
    }
    Ok(y)
}

/// Comparisons, and logic of 0 and 1.
fn compare(n: &mut Node<'_>) -> Built<ValueId> {
    let (a, b) = (n.x(0)?, n.x(1)?);
    let b = old_broadcast(n, a, b)?;
    Ok(match n.op.as_str() {
        "And" => n.g().mul(a, b)?,
        "Or" => n.g().maximum(a, b)?,
        "Xor" => {
            let zero = n.constant("zero", 0.0)?;
            let same = n.g().equal(a, b)?;
            n.g().equal(same, zero)?
        }
        "Equal" => n.g().equal(a, b)?,
        "Greater" => n.g().greater(a, b)?,
        "GreaterOrEqual" => n.g().greater_equal(a, b)?,
        "Less" => n.g().less(a, b)?,
        _ => n.g().less_equal(a, b)?,
    })
}

fn arithmetic(n: &mut Node<'_>) -> Built<ValueId> {
    // The type of a power is its base's, and an exponent may be whole.
    if n.op != "Pow" || n.host(0)?.is_integer() {
        n.floats_only()?;
    }
    let (a, b) = (n.x(0)?, n.x(1)?);
    let b = old_broadcast(n, a, b)?;
    Ok(match n.op.as_str() {
        "Add" => n.g().add(a, b)?,
        "Sub" => n.g().sub(a, b)?,
        "Mul" => n.g().mul(a, b)?,
        "Div" => n.g().div(a, b)?,
        _ => n.g().pow(a, b)?,
    })
}

/// Before opset 7 `b` was laid over the axes of `a` from `axis` on, not from the last.
fn old_broadcast(n: &mut Node<'_>, a: ValueId, b: ValueId) -> Built<ValueId> {
    let (rank, own) = (n.case.shape(a).len(), n.case.shape(b));
    if n.since >= 7 || n.int("broadcast", 0)? == 0 || n.attribute("axis").is_none() {
        return Ok(b);
    }
    let start = n.axis(0, rank)?;
    if start + own.len() > rank {
        return wrong(format!("axis {start} and the {} axes of B do not fit the {rank} of A", own.len()));
    }
    let behind = vec![1; rank - start - own.len()];
    n.case.reshape(b, &[own, behind].concat())
}

fn prelu(n: &mut Node<'_>) -> Built<ValueId> {
    n.floats_only()?;
    let (x, mut slope) = (n.x(0)?, n.x(1)?);
    let (rank, own) = (n.case.shape(x).len(), n.case.shape(slope));
    // Before opset 7 slopes were the channels', which are axis 1.
    if n.since < 7 && own.len() == 1 && rank > 2 {
        slope = n.case.reshape(slope, &[own, vec![1; rank - 2]].concat())?;
    }
    let zero = n.constant("zero", 0.0)?;
    let (below, scaled) = (n.g().less(x, zero)?, n.g().mul(x, slope)?);
    Ok(n.g().select(below, scaled, x)?)
}

/// Bounds are inputs since opset 11, attributes before.
fn clip(n: &mut Node<'_>) -> Built<ValueId> {
    let bound = |n: &Node<'_>, i: usize, name: &str| match n.scalar(i)? {
        Some(v) => Ok(Some(v)),
        None => n.attribute(name).map(|_| n.float(name, 0.0)).transpose(),
    };
    let (min, max) = (bound(n, 1, "min")?, bound(n, 2, "max")?);
    let x = n.x(0)?;
    let (low, high) = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
    if low <= high {
        return Ok(n.g().clamp(x, low as f32, high as f32)?);
    }
    // The upper bound wins.
    let (low, high) = (n.constant("min", low)?, n.constant("max", high)?);
    let y = n.g().maximum(x, low)?;
    Ok(n.g().minimum(y, high)?)
}

fn cast(n: &mut Node<'_>) -> Built<ValueId> {
    const CODES: [(i64, &str); 13] = [
        (1, "f32"),
        (2, "u8"),
        (3, "i8"),
        (4, "u16"),
        (5, "i16"),
        (6, "i32"),
        (7, "i64"),
        (9, "bool"),
        (10, "f16"),
        (11, "f64"),
        (12, "u32"),
        (13, "u64"),
        (16, "bf16"),
    ];
    let code = n.int("to", 0)?;
    let to = match n.outputs.first() {
        Some(Some(out)) if n.op == "CastLike" => out.logical.clone(),
        Some(Some(out)) if CODES.iter().all(|(c, name)| *c != code || *name == out.logical) => {
            out.logical.clone()
        }
        _ => return wrong(format!("to = {code}, but the output has another type")),
    };
    let from = n.host(0)?;
    let whole = from.is_integer() || from.is_bool();
    let tensor: Tensor = carry_quantized(from)?;
    let x = n.case.given("in0", tensor)?;
    let wide = n.g().cast(x, DType::F32)?;
    Ok(match to.as_str() {
        "f32" | "f64" | "bf16" => wide,
        "f16" => n.g().cast(x, DType::F16)?,
        "i8" => n.g().cast(x, DType::I8)?,
        "u8" => n.g().cast(x, DType::U8)?,
        "i64" | "i32" | "i16" | "u64" | "u32" | "u16" if whole => wide,
        // The fraction is dropped.
        "i64" | "i32" | "i16" | "u64" | "u32" | "u16" => {
            let (sign, size) = (n.g().sign(wide)?, n.g().abs(wide)?);
            let size = n.g().floor(size)?;
            n.g().mul(sign, size)?
        }
        "bool" => {
            let zero = n.constant("zero", 0.0)?;
            let is_zero = n.g().equal(wide, zero)?;
            n.g().equal(is_zero, zero)?
        }
        other @ ("i4" | "u4" | "i2" | "u2") => {
            return unsupported(format!("a result of less than 8 bits ({other})"));
        }
        other => return unsupported(format!("type {other}")),
    })
}

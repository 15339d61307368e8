//! What walks over time with a state: causal convolution and linear attention.

use tachylite::ValueId;
use tachylite::ops::causal_conv::CausalConv;
use tachylite::ops::linear_attention::LinearAttention;

use super::Node;
use crate::cases::build::{Built, unsupported, wrong};

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    match n.op.as_str() {
        "CausalConvWithState" => convolution(n)?,
        "LinearAttention" => linear(n)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Time is the last axis there, and channels are here.
fn convolution(n: &mut Node<'_>) -> Built<()> {
    n.floats_only()?;
    let silu = match n.text("activation", "none").as_str() {
        "silu" | "swish" => true,
        "none" | "" => false,
        other => return unsupported(format!("attribute activation={other}")),
    };
    let x = n.x(0)?;
    let x = n.case.swap(x, 1, 2)?;
    let w = n.x(1)?;
    let [channels, 1, taps] = n.case.shape(w)[..] else {
        return wrong("CausalConvWithState: the weight must be [C, 1, K]");
    };
    let w = n.case.reshape(w, &[channels, taps])?;
    let bias = n.maybe_x(2)?;
    let state = match n.maybe_x(3)? {
        Some(state) => Some(n.case.swap(state, 1, 2)?),
        None => None,
    };
    let (y, left) = n.g().causal_conv(x, w, CausalConv { bias, state, silu })?;
    for (i, out) in [y, left].into_iter().enumerate() {
        let out = n.case.swap(out, 1, 2)?;
        n.out(i, out)?;
    }
    Ok(())
}

fn linear(n: &mut Node<'_>) -> Built<()> {
    n.floats_only()?;
    let (q, k) = (heads(n, 0, "q_num_heads")?, heads(n, 1, "kv_num_heads")?);
    let v = heads(n, 2, "kv_num_heads")?;
    let [batch, steps, kv, width] = n.case.shape(k)[..] else { return wrong("LinearAttention: key") };
    let rule = n.text("update_rule", "gated_delta");
    let (gated, delta) = match rule.as_str() {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return unsupported(format!("attribute update_rule={other}")),
    };
    let decay = match n.maybe_x(4)? {
        Some(decay) if gated && n.case.shape(decay) == [batch, steps, kv] => Some(decay),
        Some(decay) if gated => Some(n.case.reshape(decay, &[batch, steps, kv, width])?),
        _ => None,
    };
    let beta = match n.maybe_x(5)? {
        Some(beta) if delta => Some(n.g().expand(beta, &[batch, steps, kv].map(tachylite::Dim::from))?),
        _ => None,
    };
    // 0 stands for 1/√d.
    let scale = Some(n.float("scale", 0.0)? as f32).filter(|s| *s != 0.0);
    let state = n.maybe_x(3)?;
    let how = LinearAttention { decay, delta, beta, state, scale };
    let (y, left) = n.g().linear_attention(q, k, v, how)?;
    let [_, _, h, d] = n.case.shape(y)[..] else { return wrong("LinearAttention: the result") };
    let y = n.case.reshape(y, &[batch, steps, h * d])?;
    n.out(0, y)?;
    n.out(1, left)
}

/// An input `[B, T, H·D]` as `[B, T, H, D]`.
fn heads(n: &mut Node<'_>, i: usize, count: &str) -> Built<ValueId> {
    let x = n.x(i)?;
    let h = usize::try_from(n.int(count, 0)?).unwrap_or(0);
    match n.case.shape(x)[..] {
        [b, t, width] if h > 0 && width.is_multiple_of(h) => n.case.reshape(x, &[b, t, h, width / h]),
        _ => wrong(format!("LinearAttention: inputs[{i}] does not split into {h} heads")),
    }
}

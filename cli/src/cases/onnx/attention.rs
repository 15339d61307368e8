//! ONNX Attention: 3-D and 4-D layouts, caches, masks, windows, and a look at its stages.

use tachylite::ValueId;

use super::Node;
use super::product::broadcast;
use crate::cases::attend::{Attend, Mask, attend};
use crate::cases::build::{Built, Stop, wrong};

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    if n.op != "Attention" {
        return Ok(false);
    }
    let flat = n.host(0)?.shape.len() == 3;
    let q = heads(n, 0, "q_num_heads")?;
    let (mut k, mut v) = (heads(n, 1, "kv_num_heads")?, heads(n, 2, "kv_num_heads")?);
    let mut past = 0;
    if let (Some(old_k), Some(old_v)) = (n.maybe_x(4)?, n.maybe_x(5)?) {
        past = n.case.shape(old_k).get(2).copied().unwrap_or(0);
        k = n.g().concat(&[old_k, k], 2)?;
        v = n.g().concat(&[old_v, v], 2)?;
    }
    let (&[b, _, s, d], &[_, _, t, _]) = (&n.case.shape(q)[..], &n.case.shape(k)[..]) else {
        return wrong("Attention: Q, K and V must have 3 or 4 axes");
    };
    let a = Attend {
        q,
        k,
        v,
        scale: n.float("scale", 1.0 / (d as f64).sqrt())?,
        softcap: n.float("softcap", 0.0)?,
        mask: mask(n, [b, s, t], past)?,
        window: [None; 2],
        slopes: None,
        sinks: None,
    };
    let stages = n.outputs.get(3).is_some_and(Option::is_some);
    let done = attend(n.case, &a, false, stages)?;
    let mut y = done.o;
    if flat {
        y = n.case.swap(y, 1, 2)?;
        let [b, s, h, d] = n.case.shape(y)[..] else { return wrong("Attention: the result has not 4 axes") };
        y = n.case.reshape(y, &[b, s, h * d])?;
    }
    n.out(0, y)?;
    n.out(1, k)?;
    n.out(2, v)?;
    if let Some(stages) = done.stages {
        let mode = usize::try_from(n.int("qk_matmul_output_mode", 0)?).unwrap_or(usize::MAX);
        let Some(stage) = stages.get(mode) else { return wrong(format!("qk_matmul_output_mode = {mode}")) };
        // Where nothing happens between two stages, they are one value.
        n.out(3, *stage)?;
    }
    Ok(true)
}

/// An input as `[B, heads, S, D]`.
fn heads(n: &mut Node<'_>, i: usize, count: &str) -> Built<ValueId> {
    n.floats_of(&[i])?;
    let x = n.x(i)?;
    let [b, s, width] = n.case.shape(x)[..] else { return Ok(x) };
    let heads = usize::try_from(n.int(count, 0)?).unwrap_or(0);
    if heads == 0 || !width.is_multiple_of(heads) {
        return wrong(format!("{count} = {heads}, but a row of inputs[{i}] has {width} elements"));
    }
    let x = n.case.reshape(x, &[b, s, heads, width / heads])?;
    n.case.swap(x, 1, 2)
}

/// Who sees whom: the mask, lengths of what is no padding, causality, and a window.
fn mask(n: &Node<'_>, [b, s, t]: [usize; 3], past: usize) -> Built<Mask> {
    let lengths = n.indices(6)?.map(|l| l.into_iter().map(|n| n.clamp(0, 1 << 32)).collect::<Vec<i64>>());
    let causal = n.int("is_causal", 0)? != 0;
    let window = |name: &str| Ok::<_, Stop>(n.int(name, -1)?.min(1 << 32));
    let (left, right) = (window("left_window_size")?, window("right_window_size")?);
    // Where the first query stands among the keys: behind the cache, wherever that is kept.
    let offset = |batch: usize| match &lengths {
        Some(lengths) => lengths.get(batch).copied().unwrap_or(0) - s as i64,
        None => past as i64,
    };
    let sees = |batch: usize, query: usize, key: usize| {
        let (at, key) = (query as i64 + offset(batch), key as i64);
        let there = lengths.as_ref().is_none_or(|l| key < l.get(batch).copied().unwrap_or(0));
        there && (!causal || key <= at) && (left < 0 || key >= at - left) && (right < 0 || key <= at + right)
    };
    let batches = if lengths.is_some() { b } else { 1 };
    let Some(given) = n.maybe(3) else {
        return Mask::new([batches, 1, s, t], |[b, _, s, t]| sees(b, s, t));
    };
    let values = given.numbers().map_err(Stop::Unsupported)?;
    // Broadcast from the last axis on; keys that the mask does not reach are not seen.
    let own = [vec![1; 4usize.saturating_sub(given.shape.len())], given.shape.clone()].concat();
    let [mb, mh, ms, mt] = own[..] else { return wrong("attn_mask: more than 4 axes") };
    let fits = broadcast(&[mb, mh, ms], &[b, mh, s]).is_some() && (mt == 1 || mt <= t);
    if !fits {
        return wrong(format!("attn_mask is {:?}, which does not fit {s} queries and {t} keys", given.shape));
    }
    let at = |[b, h, s, t]: [usize; 4]| {
        let place = |i: usize, size: usize| if size == 1 { 0 } else { i };
        let t = place(t, mt);
        (t < mt).then(|| values[((place(b, mb) * mh + place(h, mh)) * ms + place(s, ms)) * mt + t])
    };
    let shape = [batches.max(mb), mh, s, t];
    let is_bool = given.is_bool();
    let passes = |v: f64| if is_bool { v != 0.0 } else { v != f64::NEG_INFINITY };
    let mut mask = Mask::new(shape, |i| at(i).is_some_and(passes) && sees(i[0], i[2], i[3]))?;
    if !is_bool {
        mask.bias = Some(mask.each(|i, seen| if seen { at(i).unwrap_or(0.0) } else { 0.0 }));
    }
    Ok(mask)
}

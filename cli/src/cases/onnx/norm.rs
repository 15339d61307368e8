//! Normalisations, over trailing axes or over what is not a channel.

use tachylite::ValueId;

use super::Node;
use crate::cases::build::{Built, axis, dims, unsupported, wrong};

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    match n.op.as_str() {
        "LayerNormalization" | "RMSNormalization" => trailing(n)?,
        "BatchNormalization" => batch(n)?,
        "InstanceNormalization" | "GroupNormalization" => groups(n)?,
        "MeanVarianceNormalization" => mean_variance(n)?,
        "LpNormalization" => lp(n)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// LayerNormalization and RMSNormalization: everything from `axis` on is one row.
fn trailing(n: &mut Node<'_>) -> Built<()> {
    n.floats_only()?;
    let x = n.x(0)?;
    let shape = n.case.shape(x);
    let at = n.axis(-1, shape.len())?;
    let (rows, width) = (shape[..at].iter().product(), shape[at..].iter().product());
    let eps = n.float("epsilon", 1e-5)? as f32;
    let flat = n.case.reshape(x, &[rows, width])?;
    let row = |n: &mut Node<'_>, i: usize| -> Built<Option<ValueId>> {
        let Some(w) = n.maybe_x(i)? else { return Ok(None) };
        let w = n.g().expand(w, &dims(&shape[at..]))?;
        n.case.reshape(w, &[width]).map(Some)
    };
    let Some(w) = row(n, 1)? else { return wrong(format!("{}: the scale is missing", n.op)) };
    let y = if n.op == "RMSNormalization" {
        n.g().rms_norm(flat, w, eps)?
    } else {
        let b = match row(n, 2)? {
            Some(b) => b,
            None => n.case.numbers("zeros", &[width], &vec![0.0; width])?,
        };
        n.g().layer_norm(flat, w, b, eps)?
    };
    let y = n.case.reshape(y, &shape)?;
    n.out(0, y)?;
    if n.outputs.len() > 1 {
        let (mean, inverse) = statistics(n, flat, &[1], f64::from(eps))?;
        let kept: Vec<usize> = (0..shape.len()).map(|i| if i < at { shape[i] } else { 1 }).collect();
        let (mean, inverse) = (n.case.reshape(mean, &kept)?, n.case.reshape(inverse, &kept)?);
        n.out(1, mean)?;
        n.out(2, inverse)?;
    }
    Ok(())
}

/// The mean over axes and 1/√(variance + eps), with the axes kept.
fn statistics(n: &mut Node<'_>, x: ValueId, axes: &[usize], eps: f64) -> Built<(ValueId, ValueId)> {
    let (mean, variance) = moments(n, x, axes)?;
    let spread = n.offset(variance, eps)?;
    Ok((mean, n.g().rsqrt(spread)?))
}

/// The mean over axes, and the mean of squared distances from it, with the axes kept.
fn moments(n: &mut Node<'_>, x: ValueId, axes: &[usize]) -> Built<(ValueId, ValueId)> {
    let mean = n.g().mean(x, axes, true)?;
    let off = n.g().sub(x, mean)?;
    let square = n.g().mul(off, off)?;
    let variance = n.g().mean(square, axes, true)?;
    Ok((mean, variance))
}

/// (x - mean)·inverse·scale + bias.
fn affine(n: &mut Node<'_>, x: ValueId, by: [ValueId; 4]) -> Built<ValueId> {
    let [mean, inverse, scale, bias] = by;
    let y = n.g().sub(x, mean)?;
    let y = n.g().mul(y, inverse)?;
    let y = n.g().mul(y, scale)?;
    Ok(n.g().add(y, bias)?)
}

/// A vector laid along axis 1 of a tensor of `rank` axes.
fn channels(n: &mut Node<'_>, v: ValueId, rank: usize) -> Built<ValueId> {
    let size = n.case.shape(v).iter().product();
    n.case.reshape(v, &[vec![size], vec![1; rank.saturating_sub(2)]].concat())
}

fn batch(n: &mut Node<'_>) -> Built<()> {
    let x = n.x(0)?;
    let rank = n.case.shape(x).len();
    let eps = n.float("epsilon", 1e-5)?;
    let [scale, bias, mean, variance] = [n.x(1)?, n.x(2)?, n.x(3)?, n.x(4)?];
    let [scale, bias] = [channels(n, scale, rank)?, channels(n, bias, rank)?];
    if n.int("training_mode", 0)? == 0 {
        let spread = n.offset(variance, eps)?;
        let inverse = n.g().rsqrt(spread)?;
        let [mean, inverse] = [channels(n, mean, rank)?, channels(n, inverse, rank)?];
        let y = affine(n, x, [mean, inverse, scale, bias])?;
        return n.out(0, y);
    }
    let axes: Vec<usize> = (0..rank).filter(|a| *a != 1).collect();
    let (now, spread) = moments(n, x, &axes)?;
    let inverse = n.offset(spread, eps)?;
    let inverse = n.g().rsqrt(inverse)?;
    let y = affine(n, x, [now, inverse, scale, bias])?;
    n.out(0, y)?;
    let momentum = n.float("momentum", 0.9)?;
    for (i, (running, now)) in [(mean, now), (variance, spread)].into_iter().enumerate() {
        let own = n.case.shape(running);
        let now = n.case.reshape(now, &own)?;
        let (old, new) = (n.scale(running, momentum)?, n.scale(now, 1.0 - momentum)?);
        let y = n.g().add(old, new)?;
        n.out(i + 1, y)?;
    }
    Ok(())
}

/// Every group of channels of every sample is a row; each channel has a scale.
fn groups(n: &mut Node<'_>) -> Built<()> {
    let x = n.x(0)?;
    let shape = n.case.shape(x);
    let [samples, width, ..] = shape[..] else { return wrong(format!("{}: needs 2 axes", n.op)) };
    let count = if n.op == "InstanceNormalization" {
        width
    } else {
        usize::try_from(n.int("num_groups", 1)?).unwrap_or(0)
    };
    if count == 0 || !width.is_multiple_of(count) {
        return wrong(format!("{}: {width} channels in {count} groups", n.op));
    }
    let eps = n.float("epsilon", 1e-5)?;
    let rest = shape[1..].iter().product::<usize>() / count;
    let rows = n.case.reshape(x, &[samples * count, rest])?;
    let (mean, inverse) = statistics(n, rows, &[1], eps)?;
    let y = n.g().sub(rows, mean)?;
    let y = n.g().mul(y, inverse)?;
    let y = n.case.reshape(y, &shape)?;
    let [scale, bias] = [n.x(1)?, n.x(2)?];
    if n.case.shape(scale) != [width] {
        return unsupported("a scale for each group (before opset 21)");
    }
    let [scale, bias] = [channels(n, scale, shape.len())?, channels(n, bias, shape.len())?];
    let y = n.g().mul(y, scale)?;
    let y = n.g().add(y, bias)?;
    n.out(0, y)
}

fn mean_variance(n: &mut Node<'_>) -> Built<()> {
    let x = n.x(0)?;
    let rank = n.case.shape(x).len();
    let axes = n.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = axes.into_iter().map(|a| axis(a, rank)).collect::<Built<Vec<_>>>()?;
    let (mean, variance) = moments(n, x, &axes)?;
    let spread = n.g().sqrt(variance)?;
    let spread = n.offset(spread, 1e-9)?;
    let y = n.g().sub(x, mean)?;
    let y = n.g().div(y, spread)?;
    n.out(0, y)
}

/// x over its norm along an axis; 0 where that is 0.
fn lp(n: &mut Node<'_>) -> Built<()> {
    let x = n.x(0)?;
    let at = n.axis(-1, n.case.shape(x).len())?;
    let norm = match n.int("p", 2)? {
        1 => {
            let size = n.g().abs(x)?;
            n.g().sum(size, &[at], true)?
        }
        2 => {
            let square = n.g().mul(x, x)?;
            let sum = n.g().sum(square, &[at], true)?;
            n.g().sqrt(sum)?
        }
        p => return unsupported(format!("attribute p={p}")),
    };
    let (zero, one) = (n.constant("zero", 0.0)?, n.constant("one", 1.0)?);
    let none = n.g().equal(norm, zero)?;
    let norm = n.g().select(none, one, norm)?;
    let y = n.g().div(x, norm)?;
    n.out(0, y)
}

//! Ops that move, repeat, cut and join.

use tachylite::ValueId;

use super::Node;
use super::product::broadcast;
use crate::cases::build::{Built, axis, count, dims, unsupported, wrong};

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    if n.op == "Split" {
        return split(n).map(|()| true);
    }
    let y = match n.op.as_str() {
        "Identity" => n.x(0)?,
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => reshape(n)?,
        "Transpose" => {
            let x = n.x(0)?;
            let rank = n.case.shape(x).len();
            let order = n.ints("perm")?.unwrap_or_else(|| (0..rank as i64).rev().collect());
            let order = order.into_iter().map(|a| axis(a, rank)).collect::<Built<Vec<_>>>()?;
            n.g().transpose(x, &order)?
        }
        "Concat" => {
            let tensors = (0..n.inputs.len()).map(|i| n.x(i)).collect::<Built<Vec<_>>>()?;
            let rank = tensors.first().map_or(0, |x| n.case.shape(*x).len());
            let along = n.axis(1, rank)?;
            n.g().concat(&tensors, along)?
        }
        "Slice" => slice(n)?,
        "Pad" => pad(n)?,
        "Gather" => gather(n)?,
        "Expand" => {
            let x = n.x(0)?;
            let shape = lengths(n.indices(1)?.unwrap_or_default())?;
            let Some(shape) = broadcast(&n.case.shape(x), &shape) else {
                return wrong(format!("Expand: to {shape:?}, which does not broadcast"));
            };
            n.g().expand(x, &dims(&shape))?
        }
        "Tile" => tile(n)?,
        "Trilu" => trilu(n)?,
        _ => return Ok(false),
    };
    n.out(0, y)?;
    Ok(true)
}

/// Sizes that a tensor gave.
fn lengths(list: Vec<i64>) -> Built<Vec<usize>> {
    let length = |n: i64| usize::try_from(n).or_else(|_| wrong(format!("{n} is no size")));
    list.into_iter().map(length).collect()
}

/// The sizes of input 0, as the suite has them: what has no axes has none here.
fn own_shape(n: &Node<'_>) -> Built<Vec<usize>> {
    Ok(n.host(0)?.shape.clone())
}

/// Axes that are an attribute in old opsets and an input in new ones.
fn listed(n: &Node<'_>, i: usize, name: &str) -> Built<Option<Vec<i64>>> {
    match n.ints(name)? {
        Some(list) => Ok(Some(list)),
        None => n.indices(i),
    }
}

fn reshape(n: &mut Node<'_>) -> Built<ValueId> {
    let (x, from) = (n.x(0)?, own_shape(n)?);
    let shape = match n.op.as_str() {
        "Flatten" => {
            let at = n.int("axis", 1)?;
            let at = if at == from.len() as i64 { from.len() } else { axis(at, from.len())? };
            vec![from[..at].iter().product(), from[at..].iter().product()]
        }
        "Squeeze" => {
            let axes = listed(n, 1, "axes")?;
            let axes = axes.map(|l| l.into_iter().map(|a| axis(a, from.len())).collect::<Built<Vec<_>>>());
            let axes = axes.transpose()?;
            let goes = |i: usize| axes.as_ref().map_or(from[i] == 1, |axes| axes.contains(&i));
            (0..from.len()).filter(|i| !goes(*i)).map(|i| from[i]).collect()
        }
        "Unsqueeze" => {
            let axes = listed(n, 1, "axes")?.unwrap_or_default();
            let rank = from.len() + axes.len();
            let axes = axes.into_iter().map(|a| axis(a, rank)).collect::<Built<Vec<_>>>()?;
            let mut rest = from.iter().copied();
            let size = |i| if axes.contains(&i) { Some(1) } else { rest.next() };
            (0..rank).filter_map(size).collect()
        }
        _ => new_shape(n, &from)?,
    };
    n.case.reshape(x, &shape)
}

/// 0 keeps a size (unless `allowzero`), -1 is what is left.
fn new_shape(n: &Node<'_>, from: &[usize]) -> Built<Vec<usize>> {
    let list = listed(n, 1, "shape")?.unwrap_or_default();
    let keeps = n.int("allowzero", 0)? == 0;
    let mut shape = Vec::new();
    for (i, size) in list.iter().enumerate() {
        shape.push(match (*size, from.get(i)) {
            (0, Some(own)) if keeps => *own,
            (-1, _) => 1,
            (size, _) => usize::try_from(size).or_else(|_| wrong(format!("Reshape: {size} is no size")))?,
        });
    }
    if let Some(open) = list.iter().position(|s| *s == -1) {
        let (all, known) = (count(from), count(&shape));
        shape[open] = all.checked_div(known).unwrap_or(0);
    }
    Ok(shape)
}

/// Takes places of one axis: a slice if they are neighbours, else a gather.
fn take(n: &mut Node<'_>, x: ValueId, along: usize, places: &[usize], name: &str) -> Built<ValueId> {
    let first = places.first().copied().unwrap_or(0);
    if places.iter().enumerate().all(|(i, p)| *p == first + i) {
        let size = n.case.shape(x)[along];
        let whole = first == 0 && places.len() == size;
        return if whole { Ok(x) } else { Ok(n.g().slice(x, along, first, places.len())?) };
    }
    let idx = n.places(name, &[places.len()], places)?;
    Ok(n.g().gather(x, idx, along)?)
}

fn slice(n: &mut Node<'_>) -> Built<ValueId> {
    let mut y = n.x(0)?;
    let shape = n.case.shape(y);
    let (starts, ends) =
        (listed(n, 1, "starts")?.unwrap_or_default(), listed(n, 2, "ends")?.unwrap_or_default());
    let axes = listed(n, 3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = n.indices(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return wrong("Slice: starts, ends, axes and steps are not of one length");
    }
    for i in 0..starts.len() {
        let along = axis(axes[i], shape.len())?;
        let (size, step) = (shape[along] as i64, steps[i]);
        // Numpy's rule: from the end if negative, then kept inside; backwards one further down.
        let inside =
            |v: i64, low: i64, high: i64| (if v < 0 { v.saturating_add(size) } else { v }).clamp(low, high);
        let places: Vec<usize> = match step {
            0 => return wrong("Slice: a step of 0"),
            1.. => {
                let (from, to) = (inside(starts[i], 0, size), inside(ends[i], 0, size));
                (from..to).step_by(step as usize).map(|p| p as usize).collect()
            }
            _ => {
                let (from, to) = (inside(starts[i], -1, size - 1), inside(ends[i], -1, size - 1));
                let back = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
                (to + 1..=from).rev().step_by(back).map(|p| p as usize).collect()
            }
        };
        y = take(n, y, along, &places, &format!("places{i}"))?;
    }
    Ok(y)
}

/// Sizes as they are listed, or equal parts of which the last is the smallest.
fn split(n: &mut Node<'_>) -> Built<()> {
    let x = n.x(0)?;
    let shape = n.case.shape(x);
    let along = n.axis(0, shape.len())?;
    let count = usize::try_from(n.int("num_outputs", n.outputs.len() as i64)?).unwrap_or(0);
    let parts = match listed(n, 1, "split")? {
        Some(list) => lengths(list)?,
        None if count == 0 || count != n.outputs.len() => {
            return wrong(format!("Split: into {count} parts, but there are {} outputs", n.outputs.len()));
        }
        None => {
            let part = shape[along].div_ceil(count);
            (0..count).map(|i| part.min(shape[along].saturating_sub(i * part))).collect()
        }
    };
    let mut start = 0;
    for (i, part) in parts.into_iter().enumerate() {
        let y = n.g().slice(x, along, start, part)?;
        start += part;
        n.out(i, y)?;
    }
    Ok(())
}

fn pad(n: &mut Node<'_>) -> Built<ValueId> {
    let mut y = n.x(0)?;
    let rank = n.case.shape(y).len();
    let pads = listed(n, 1, "pads")?.unwrap_or_default();
    let axes = n.indices(3)?.unwrap_or_else(|| (0..rank as i64).collect());
    let value = match n.scalar(2)? {
        Some(v) => v,
        None => n.float("value", 0.0)?,
    };
    let mode = n.text("mode", "constant");
    if pads.len() != 2 * axes.len() {
        return wrong(format!("Pad: {} pads for {} axes", pads.len(), axes.len()));
    }
    for (i, a) in axes.iter().enumerate() {
        let along = axis(*a, rank)?;
        let (before, after) = (pads[i], pads[axes.len() + i]);
        let size = n.case.shape(y)[along] as i64;
        if !(-size..=1 << 24).contains(&before) || !(-size..=1 << 24).contains(&after) {
            return wrong(format!("Pad: {before} and {after} around {size}"));
        }
        // Where the elements of the result come from; in mode `constant`, only those that are kept.
        let from = |at: i64| match mode.as_str() {
            "constant" => (0..size).contains(&at).then_some(at),
            "edge" if size > 0 => Some(at.clamp(0, size - 1)),
            "wrap" if size > 0 => Some(at.rem_euclid(size)),
            "reflect" if size > 1 => {
                let at = at.rem_euclid(2 * size - 2);
                Some(at.min(2 * size - 2 - at))
            }
            "reflect" if size == 1 => Some(0),
            _ => None,
        };
        if !["constant", "edge", "wrap", "reflect"].contains(&mode.as_str()) {
            return unsupported(format!("attribute mode={mode}"));
        }
        let places: Vec<usize> = (-before..size + after).filter_map(from).map(|p| p as usize).collect();
        y = take(n, y, along, &places, &format!("places{i}"))?;
        if mode == "constant" && (before > 0 || after > 0) {
            let (before, after) = (before.max(0) as usize, after.max(0) as usize);
            y = n.g().pad(y, along, before, after, value as f32)?;
        }
    }
    Ok(y)
}

fn gather(n: &mut Node<'_>) -> Built<ValueId> {
    let (x, from) = (n.x(0)?, own_shape(n)?);
    let along = n.axis(0, from.len())?;
    let (indices, own) = (n.indices(1)?.unwrap_or_default(), n.host(1)?.shape.clone());
    let places = indices.into_iter().map(|i| axis(i, from[along])).collect::<Built<Vec<_>>>()?;
    let shape = crate::cases::build::inner(&own);
    let idx = n.places("indices", &shape, &places)?;
    let y = n.g().gather(x, idx, along)?;
    // One index without an axis takes the axis away.
    n.case.reshape(y, &[&from[..along], own.as_slice(), &from[along + 1..]].concat())
}

fn tile(n: &mut Node<'_>) -> Built<ValueId> {
    let mut y = n.x(0)?;
    let repeats = lengths(n.indices(1)?.unwrap_or_default())?;
    if repeats.len() != n.case.shape(y).len() {
        return wrong(format!("Tile: {} repeats for {} axes", repeats.len(), n.case.shape(y).len()));
    }
    for (along, times) in repeats.into_iter().enumerate().filter(|(_, times)| *times != 1) {
        let mut shape = n.case.shape(y);
        let (outer, inner) = (count(&shape[..along]), count(&shape[along..]));
        y = n.case.reshape(y, &[outer, 1, inner])?;
        y = n.g().expand(y, &dims(&[outer, times, inner]))?;
        shape[along] = shape[along].saturating_mul(times);
        y = n.case.reshape(y, &shape)?;
    }
    Ok(y)
}

/// What lies above or below a diagonal, the rest 0.
fn trilu(n: &mut Node<'_>) -> Built<ValueId> {
    let x = n.x(0)?;
    let shape = n.case.shape(x);
    let [.., rows, columns] = shape[..] else { return wrong("Trilu: needs 2 axes") };
    let diagonal = n.indices(1)?.and_then(|k| k.first().copied()).unwrap_or(0);
    let upper = n.int("upper", 1)? != 0;
    let kept = |i: usize| {
        let above = (i % columns) as i64 - (i / columns) as i64 - diagonal.clamp(-(1 << 40), 1 << 40);
        f64::from(u8::from(if upper { above >= 0 } else { above <= 0 }))
    };
    let mask: Vec<f64> = (0..rows * columns).map(kept).collect();
    let (mask, zero) = (n.case.numbers("kept", &[rows, columns], &mask)?, n.constant("zero", 0.0)?);
    Ok(n.g().select(mask, x, zero)?)
}

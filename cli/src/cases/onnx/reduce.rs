//! Reductions over axes, cumulative sums, softmax and log-softmax.

use tachylite::ValueId;
use tachylite::ops::cumulative_sum::Cumulative;

use super::Node;
use crate::cases::build::{Built, axis, unsupported};

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    let y = match n.op.as_str() {
        "Softmax" | "LogSoftmax" => softmax(n)?,
        "CumSum" => cumulative(n)?,
        "ReduceMax" | "ReduceMin" | "ReduceSum" | "ReduceMean" | "ReduceProd" | "ReduceL1" | "ReduceL2"
        | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare" => reduce(n)?,
        _ => return Ok(false),
    };
    n.out(0, y)?;
    Ok(true)
}

/// Before opset 13 everything from `axis` on is one row.
fn softmax(n: &mut Node<'_>) -> Built<ValueId> {
    let x = n.x(0)?;
    let shape = n.case.shape(x);
    let at = n.axis(if n.since < 13 { 1 } else { -1 }, shape.len())?;
    let (mut rows, mut along) = (x, at);
    if n.since < 13 {
        rows = n.case.reshape(x, &[shape[..at].iter().product(), shape[at..].iter().product()])?;
        along = 1;
    }
    let y = if n.op == "Softmax" { n.g().softmax(rows, along)? } else { n.g().log_softmax(rows, along)? };
    n.case.reshape(y, &shape)
}

fn cumulative(n: &mut Node<'_>) -> Built<ValueId> {
    let x = n.x(0)?;
    let rank = n.case.shape(x).len();
    let at = axis(n.scalar(1)?.unwrap_or(0.0) as i64, rank)?;
    let how = Cumulative { exclusive: n.int("exclusive", 0)? != 0, reverse: n.int("reverse", 0)? != 0 };
    Ok(n.g().cumulative_sum(x, at, how)?)
}

fn reduce(n: &mut Node<'_>) -> Built<ValueId> {
    if !matches!(n.op.as_str(), "ReduceMax" | "ReduceMin") && n.host(0)?.is_integer() {
        return unsupported(format!("integer arithmetic ({})", n.host(0)?.logical));
    }
    let x = n.x(0)?;
    let rank = n.case.shape(x).len();
    let listed = match n.ints("axes")? {
        Some(axes) => axes,
        None => n.indices(1)?.unwrap_or_default(),
    };
    let mut axes = listed.into_iter().map(|a| axis(a, rank)).collect::<Built<Vec<_>>>()?;
    if axes.is_empty() && n.int("noop_with_empty_axes", 0)? == 0 {
        axes = (0..rank).collect();
    }
    axes.sort_unstable();
    axes.dedup();
    let keep = n.int("keepdims", 1)? != 0;
    let shape = n.case.shape(x);
    let sums = ["ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"];
    if !sums.contains(&n.op.as_str()) && axes.iter().any(|a| shape[*a] == 0) {
        return unsupported("a reduction of nothing that is not a sum");
    }
    let sum = |n: &mut Node<'_>, x: ValueId| -> Built<ValueId> {
        if axes.is_empty() { Ok(x) } else { Ok(n.g().sum(x, &axes, keep)?) }
    };
    Ok(match n.op.as_str() {
        "ReduceMax" | "ReduceMin" | "ReduceMean" | "ReduceProd" if axes.is_empty() => x,
        "ReduceMax" => n.g().max(x, &axes, keep)?,
        "ReduceMin" => n.g().min(x, &axes, keep)?,
        "ReduceMean" => n.g().mean(x, &axes, keep)?,
        "ReduceProd" => n.g().prod(x, &axes, keep)?,
        "ReduceL1" => {
            let size = n.g().abs(x)?;
            sum(n, size)?
        }
        "ReduceL2" => {
            let square = n.g().mul(x, x)?;
            let sum = sum(n, square)?;
            n.g().sqrt(sum)?
        }
        "ReduceSumSquare" => {
            let square = n.g().mul(x, x)?;
            sum(n, square)?
        }
        "ReduceLogSum" => {
            let sum = sum(n, x)?;
            n.g().log(sum)?
        }
        "ReduceLogSumExp" if axes.is_empty() => x,
        "ReduceLogSumExp" => log_sum_exp(n, x, &axes, keep)?,
        _ => sum(n, x)?,
    })
}

/// max + ln Σ exp(x - max), so that nothing overflows.
fn log_sum_exp(n: &mut Node<'_>, x: ValueId, axes: &[usize], keep: bool) -> Built<ValueId> {
    let largest = n.g().max(x, axes, true)?;
    let below = n.g().sub(x, largest)?;
    let below = n.g().exp(below)?;
    let sum = n.g().sum(below, axes, true)?;
    let log = n.g().log(sum)?;
    let y = n.g().add(log, largest)?;
    if keep {
        return Ok(y);
    }
    let shape = n.case.shape(y);
    let left = shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, n)| *n);
    n.case.reshape(y, &left.collect::<Vec<_>>())
}

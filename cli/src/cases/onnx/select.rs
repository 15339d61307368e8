//! Elements by their order: TopK, ArgMax and ArgMin.

use tachylite::ops::arg::Tie;

use super::Node;
use crate::cases::build::{Built, unsupported};

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    match n.op.as_str() {
        "TopK" => top_k(n)?,
        "ArgMax" | "ArgMin" => arg(n)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn top_k(n: &mut Node<'_>) -> Built<()> {
    let x = n.x(0)?;
    let rank = n.case.shape(x).len();
    if n.axis(-1, rank)? + 1 != rank {
        return unsupported("another axis than the last");
    }
    let k = n.scalar(1)?.map_or(n.int("k", 0)? as f64, |k| k) as usize;
    let largest = n.int("largest", 1)? != 0;
    let (y, idx) = if largest { n.g().top_k(x, k)? } else { n.g().bottom_k(x, k)? };
    n.out(0, y)?;
    n.out(1, idx)
}

fn arg(n: &mut Node<'_>) -> Built<()> {
    let x = n.x(0)?;
    let mut shape = n.case.shape(x);
    let axis = n.axis(0, shape.len())?;
    let tie = if n.int("select_last_index", 0)? != 0 { Tie::Last } else { Tie::First };
    let y = if n.op == "ArgMax" { n.g().arg_max(x, axis, tie)? } else { n.g().arg_min(x, axis, tie)? };
    if n.int("keepdims", 1)? == 0 {
        shape.remove(axis);
    } else {
        shape[axis] = 1;
    }
    let y = n.case.reshape(y, &shape)?;
    n.out(0, y)
}

//! SoftmaxCrossEntropyLoss and NegativeLogLikelihoodLoss: classes on the second axis, a loss for each other place.

use tachylite::ops::cross_entropy::CrossEntropy;
use tachylite::{Tensor, ValueId};

use super::Node;
use crate::cases::build::{Built, Stop, unsupported, wrong};

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    let given = match n.op.as_str() {
        "NegativeLogLikelihoodLoss" => true,
        "SoftmaxCrossEntropyLoss" => false,
        _ => return Ok(false),
    };
    let x = n.x(0)?;
    let shape = n.case.shape(x);
    if shape.len() < 2 {
        return wrong(format!("{}: scores of {shape:?} have no classes", n.op));
    }
    let logs = if given { None } else { Some(n.g().log_softmax(x, 1)?) };
    let rows = classes_last(n, x)?;
    let host = n.host(1)?.clone();
    let ignore = n.int("ignore_index", i64::MIN)?;
    // What is ignored is a class past the end, whatever its number was.
    let label = |l: i64| if l == ignore { u32::MAX } else { u32::try_from(l).unwrap_or(u32::MAX) };
    let words: Vec<u32> = host.indices().map_err(Stop::Wrong)?.into_iter().map(label).collect();
    let labels = n.case.given("labels", Tensor::from_u32(&host.shape, &words)?)?;
    let weights = n.maybe_x(2)?;
    let how = CrossEntropy { weights, ignore: None, given };
    let (losses, counts) = n.g().cross_entropy(rows, labels, how)?;
    let y = match n.text("reduction", "mean").as_str() {
        "none" => n.case.reshape(losses, &host.shape)?,
        "sum" => n.g().sum(losses, &[0], false)?,
        "mean" => {
            let (loss, count) = (n.g().sum(losses, &[0], false)?, n.g().sum(counts, &[0], false)?);
            n.g().div(loss, count)?
        }
        other => return unsupported(format!("attribute reduction={other}")),
    };
    n.out(0, y)?;
    if let Some(logs) = logs {
        n.out(1, logs)?;
    }
    Ok(true)
}

/// The second axis behind all others.
fn classes_last(n: &mut Node<'_>, x: ValueId) -> Built<ValueId> {
    let mut order: Vec<usize> = (0..n.case.shape(x).len()).collect();
    order[1..].rotate_left(1);
    Ok(n.g().transpose(x, &order)?)
}

//! Cross entropy with labels that are ignored.

use tachylite::Tensor;
use tachylite::ops::cross_entropy::CrossEntropy;

use crate::cases::build::{Bound, Built, Case, Stop};
use crate::cases::quant::Parts;

/// Builds the graph of a case.
pub(super) fn build(case: &mut Case, parts: &Parts<'_>) -> Built<()> {
    let x = case.carried("x", &parts.host("inputs", "logits")?)?;
    let targets = parts.host("inputs", "targets")?;
    // -100 is a class past the end.
    let words: Vec<u32> = targets.indices().map_err(Stop::Wrong)?.into_iter().map(|t| t as u32).collect();
    let labels = case.given("labels", Tensor::from_u32(&targets.shape, &words)?)?;
    let (losses, counts) = case.graph.cross_entropy(x, labels, CrossEntropy::default())?;
    case.expect("per_row", losses, &parts.host("outputs", "per_row")?, Bound::Ours)?;
    let (loss, count) = (case.graph.sum(losses, &[0], false)?, case.graph.sum(counts, &[0], false)?);
    let mean = case.graph.div(loss, count)?;
    case.expect("mean", mean, &parts.host("outputs", "mean")?, Bound::Ours)?;
    case.note = Some("the gradient is left out: there is no op".into());
    Ok(())
}

//! Largest elements and their places, in a stable order.

use tachylite::ops::arg::Tie;

use crate::cases::build::{Bound, Built, Case};
use crate::cases::quant::Parts;

/// The longest rows of which all are asked for: the argsort.
const SORTED: usize = 1024;

/// Builds the graph of a case.
pub(super) fn build(case: &mut Case, parts: &Parts<'_>) -> Built<()> {
    let x = case.carried("x", &parts.host("inputs", "x")?)?;
    let (y, idx) = case.graph.top_k(x, parts.param("k")? as usize)?;
    case.expect("values", y, &parts.host("outputs", "values")?, Bound::Ours)?;
    case.expect("indices", idx, &parts.host("outputs", "indices")?, Bound::Ours)?;
    let arg = case.graph.arg_max(x, 1, Tie::First)?;
    case.expect("argmax", arg, &parts.host("outputs", "argmax")?, Bound::Ours)?;
    let width = case.shape(x)[1];
    if width > SORTED {
        case.note = Some(format!("argsort of {width} is left out: more than {SORTED} are not selected"));
        return Ok(());
    }
    let (_, sorted) = case.graph.bottom_k(x, width)?;
    case.expect("argsort_asc", sorted, &parts.host("outputs", "argsort_asc")?, Bound::Ours)
}

//! What cases of ops that append are made of.

use super::At;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::Result;
use crate::formats::CacheForm;
use crate::graph::{Graph, ValueId};
use crate::op::Axis::{B, T};
use crate::op::Shape;
use crate::rng::Rng;

/// Columns of a table of pages: where a sequence begins, and two pages.
const COLUMNS: usize = 3;

/// Where a case's rows go: `starts`, `ring`, `pages` and forms are named in its variant.
pub(crate) fn at(g: &mut Graph, shape: &Shape, variant: &str) -> Result<At> {
    let [b, t] = [B, T].map(|a| shape.sizes.get(a));
    let starts = variant.contains("starts").then(|| g.input("starts", DType::U32, &[b.into()]));
    let pages = variant.contains("pages").then(|| g.input("pages", DType::U32, &[b.into(), COLUMNS.into()]));
    // In the ring the last rows of a call lie at its beginning.
    let ring = variant.contains("ring");
    let start = if ring { t.saturating_sub(1) } else { 1 };
    let form = CacheForm::ALL.into_iter().find(|form| variant.contains(form.name()));
    Ok(At { start: start.into(), starts: starts.transpose()?, ring, pages: pages.transpose()?, form })
}

/// A cache of heads `[G, D]`, `[B, T, G, D]`; or of as many pages as sequences have, and one more.
pub(crate) fn state(
    g: &mut Graph,
    name: &str,
    (shape, dtype): (&Shape, DType),
    heads: &[Dim; 2],
    at: &At,
) -> Result<ValueId> {
    let [b, t] = [B, T].map(|a| shape.sizes.get(a));
    let first = if at.pages.is_some() { b * (COLUMNS - 1) + 1 } else { b };
    let width = |form: CacheForm| form.row_bytes(heads[1].constant().unwrap_or(0) as usize).into();
    let row = at.form.map_or(heads[1].clone(), width);
    let dtype = if at.form.is_some() { DType::U8 } else { dtype };
    g.state(name, dtype, &[first.into(), t.into(), heads[0].clone(), row])
}

/// Starts up to behind the end; pages of which none is two sequences', nor all in order, and now and then one past
/// the last.
pub(crate) fn fill(name: &str, shape: &Shape, rng: &mut Rng) -> Option<Vec<f64>> {
    let [b, t] = [B, T].map(|a| shape.sizes.get(a));
    let start = |rng: &mut Rng, rows: usize| rng.below(rows as u64 + 2) as f64;
    match name {
        "starts" => Some((0..b).map(|_| start(rng, t)).collect()),
        "pages" => {
            let each = COLUMNS - 1;
            let page = |i: usize| if i % 7 == 6 { b * each + 1 } else { b * each - i };
            let of = |i: usize| (0..each).map(move |j| page(i * each + j) as f64);
            Some((0..b).flat_map(|i| std::iter::once(start(rng, t * each)).chain(of(i))).collect())
        }
        _ => None,
    }
}

//! How attention is tested.

use super::{Attention, Reach};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::Result;
use crate::formats::CacheForm;
use crate::graph::{Graph, ValueId};
use crate::op::Axis::{B, D, S, T};
use crate::op::Shape;
use crate::rng::Rng;

pub(super) fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, s, t, d] = [B, S, T, D].map(|a| Dim::from(shape.sizes.get(a)));
    let (h, kv) = if matches!(shape.variant, 4 | 19) { (6, 2) } else { (2, 2) };
    let heads = |g: &mut Graph, name: &str, wanted: bool| -> Result<Option<ValueId>> {
        wanted.then(|| g.input(name, DType::F32, &[h.into()])).transpose()
    };
    // More columns than a workgroup has.
    let c = if shape.variant == 10 { Dim::from(shape.sizes.get(D) + 250) } else { d.clone() };
    let q = g.input("q", shape.x, &[b.clone(), s.clone(), h.into(), d.clone()])?;
    let [k_form, v_form] = forms(shape.variant);
    let (pages, page) = pages(g, shape)?;
    let keys = |g: &mut Graph, name: &str, form: Option<CacheForm>, width: Dim| {
        let n = usize::try_from(width.constant().unwrap_or(0)).unwrap_or(0);
        let (dtype, last) = form.map_or((shape.x, width), |form| (DType::U8, form.row_bytes(n).into()));
        let [first, second] = page.unwrap_or([shape.sizes.get(B), shape.sizes.get(T)]);
        g.input(name, dtype, &[first.into(), second.into(), kv.into(), last])
    };
    let c = if shape.variant == 18 { Dim::from(shape.sizes.get(D) + WIDER) } else { c };
    let v_width = c.constant().and_then(|c| u32::try_from(c).ok()).filter(|_| v_form.is_some());
    let k = keys(g, "k", k_form, d)?;
    let v = keys(g, "v", v_form, c)?;
    let given = matches!(shape.variant, 2 | 3 | 9 | 11 | 13 | 16 | 19 | 21);
    let lengths = given.then(|| g.input("lengths", DType::U32, std::slice::from_ref(&b))).transpose()?;
    let mask = match shape.variant {
        7 => Some(g.input("mask", DType::F32, &[b, 1.into(), s, t])?),
        8 => Some(g.input("mask", shape.x, &[2.into(), s, t])?),
        _ => None,
    };
    let attention = Attention {
        lengths,
        mask,
        causal: matches!(shape.variant, 1 | 3 | 8 | 11 | 12 | 13 | 16 | 19),
        // A tile of keys and more lies before what the last tile of queries sees.
        left: matches!(shape.variant, 13 | 14).then_some(9),
        right: (shape.variant == 14).then_some(2),
        softcap: matches!(shape.variant, 15 | 16).then_some(0.5),
        slopes: heads(g, "slopes", shape.variant == 15)?,
        sinks: heads(g, "sinks", shape.variant == 16)?,
        reach: match shape.variant {
            11 | 13 | 16 | 19 => Reach::Lengths,
            12 => Reach::Queries,
            _ => Reach::Keys,
        },
        scale: Some(0.25),
        k_form,
        v_form,
        v_width,
        pages,
    };
    if matches!(shape.variant, 8 | 9 | 16 | 19) {
        let (o, lse) = g.attention_lse(q, k, v, attention)?;
        g.output("lse", lse)?;
        return g.output("o", o);
    }
    let o = g.attention(q, k, v, attention)?;
    g.output("o", o)
}

pub(super) fn fill(name: &str, shape: &Shape, rng: &mut Rng) -> Option<Vec<f64>> {
    let [b, s, t, d] = [B, S, T, D].map(|a| shape.sizes.get(a));
    match name {
        // Without a key, log Σ exp is that of nothing.
        "lengths" if shape.variant == 9 => Some((0..b).map(|i| (i * t / b.max(1)) as f64).collect()),
        "lengths" if shape.variant == 21 => Some(vec![t as f64; b]),
        "lengths" => Some((0..b).map(|_| rng.below(t as u64 + 1) as f64).collect()),
        // All scores 0: every weight is the same, and the result a plain mean.
        // One score leads by more than 87, so its weight is 1 and all others are 0: with
        // k = (t, t²/2) and q = 1000·(s, -1), score(s, t)/1000 is s·t - t²/2, largest at t = s.
        "q" if shape.variant == 6 && d >= 2 => Some(rows(b * s * 2, d, |row| {
            let target = (row / 2 % s.max(1)).min(t.saturating_sub(1)) as f64;
            [1000.0 * target.min(60.0), -1000.0]
        })),
        "k" if shape.variant == 6 && d >= 2 => Some(rows(b * t * 2, d, |row| {
            let key = (row / 2 % t.max(1)) as f64;
            [key, key * key / 2.0]
        })),
        "mask" if shape.variant == 7 => Some(mask(b * s, t, f32::MIN.into(), rng)),
        "mask" => Some(mask(2 * s, t, -60000.0, rng)),
        // A key that the mask hides from all queries holds what would spoil any sum.
        "v" if shape.variant == 7 => {
            let hidden = |i: usize| i / (2 * d.max(1)) % t.max(1) == HIDDEN_KEY;
            let one = |i: usize| if hidden(i) { f64::NEG_INFINITY } else { rng.signed() };
            Some((0..b * t * 2 * d).map(one).collect())
        }
        "pages" => Some(
            (0..b * (1 + t.div_ceil(page(shape)))).map(|_| rng.below(all_pages(shape) + 2) as f64).collect(),
        ),
        "k" | "v" if (17..=20).contains(&shape.variant) => {
            let [k_form, v_form] = forms(shape.variant);
            let rows = if is_paged(shape) { all_pages(shape) as usize * page(shape) } else { b * t } * 2;
            let width = if (name, shape.variant) == ("v", 18) { d + WIDER } else { d };
            Some(encoded(if name == "k" { k_form } else { v_form }?, rows, width, rng))
        }
        "q" if shape.variant == 5 => Some(vec![0.0; b * s * 2 * d]),
        _ => None,
    }
}

/// How keys and values lie in caches.
fn forms(variant: usize) -> [Option<CacheForm>; 2] {
    match variant {
        17 => [Some(CacheForm::Int8), Some(CacheForm::Q4_0)],
        18 => [Some(CacheForm::Q4_0), Some(CacheForm::Int8)],
        19 | 20 => [Some(CacheForm::Q8_0); 2],
        _ => [None; 2],
    }
}

/// Elements that quantised values have more than keys, where they have more.
const WIDER: usize = 13;
/// Keys of a page: few, so that few keys have several.
fn page(shape: &Shape) -> usize {
    if shape.sizes.get(T) < 1024 { 3 } else { 64 }
}

/// Whether keys and values lie in pages.
fn is_paged(shape: &Shape) -> bool {
    matches!(shape.variant, 19 | 21)
}

/// Pages there are: as many as sequences have, and one more.
fn all_pages(shape: &Shape) -> u64 {
    (shape.sizes.get(B) * shape.sizes.get(T).div_ceil(page(shape)) + 1) as u64
}

/// The table of pages, and the first two sizes of what lies in pages.
fn pages(g: &mut Graph, shape: &Shape) -> Result<(Option<ValueId>, Option<[usize; 2]>)> {
    if !is_paged(shape) {
        return Ok((None, None));
    }
    let [b, each] = [shape.sizes.get(B), shape.sizes.get(T).div_ceil(page(shape))];
    let pages = g.input("pages", DType::U32, &[b.into(), (1 + each).into()])?;
    Ok((Some(pages), Some([all_pages(shape) as usize, page(shape)])))
}

/// The bytes of quantised rows: numbers of every size, of which a block in four is too small for a normal f16.
pub(super) fn encoded(form: CacheForm, rows: usize, width: usize, rng: &mut Rng) -> Vec<f64> {
    let row = |_| {
        let mut row = vec![0f32; width];
        for block in row.chunks_mut(32) {
            let size = if rng.below(4) == 0 { 1e-6 } else { 0.5 + rng.unit() };
            block.iter_mut().for_each(|v| *v = (size * rng.signed()) as f32);
        }
        form.encode(&row)
    };
    (0..rows).flat_map(row).map(f64::from).collect()
}

/// A key that masks hide from every query.
const HIDDEN_KEY: usize = 3;

/// What is added to `rows` rows of scores: numbers, what is as good as -∞, -∞, and for every fifth row
/// only that.
pub(super) fn mask(rows: usize, t: usize, low: f64, rng: &mut Rng) -> Vec<f64> {
    let one = |i: usize, rng: &mut Rng| match rng.below(4) {
        _ if i / t.max(1) % 5 == 2 || i % t.max(1) == HIDDEN_KEY => f64::NEG_INFINITY,
        0 => f64::NEG_INFINITY,
        1 if rng.below(3) == 0 => low,
        _ => 2.0 * rng.signed(),
    };
    (0..rows * t).map(|i| one(i, rng)).collect()
}

/// Rows of width `d` whose first two elements are given.
fn rows(count: usize, d: usize, first: impl Fn(usize) -> [f64; 2]) -> Vec<f64> {
    let mut out = vec![0.0; count * d];
    out.chunks_mut(d).enumerate().for_each(|(i, row)| row[..2].copy_from_slice(&first(i)));
    out
}

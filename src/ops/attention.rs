//! Scaled dot-product attention: softmax(scale·q·kᵀ)·v, query heads over key/value heads.
//!
//! The scores are never stored. q, k and v may be views of one packed tensor.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats::CacheForm;
use crate::graph::{Graph, ValueId};
use crate::kernel::Site;
use crate::kernel::{Kernel, Work};
use crate::op::Axis::{B, C, D, G, H, P, S, T};
use crate::op::{Arg, Attr, AttrKind, Cases, FLOATS, INDEX, Kind, Op, Sizes};
use crate::ops::past_one_axis;
use crate::plan::Numerics;

mod cases;
pub(crate) mod drawn;
mod infer;
mod lanes;
mod matrix;
pub(crate) mod reference;
mod rows;
mod split;

/// The types of keys and values: those of activations, or bytes of rows of a quantised cache.
const CACHED: &[DType] = &[DType::F32, DType::F16, DType::U8];

/// A window without an end on that side.
pub const OPEN: u32 = u32::MAX;

/// o = softmax_t(scale · q·k + mask) · v and lse = log Σ_t exp(scale · q·k + mask); a query that sees no
/// key gives 0 and -∞.
pub static ATTENTION: Op = Op {
    name: "attention",
    formula: "o[b, s, h] = Σ_t softmax_t(score) v[b, t, g], g = h·G/H, score = \
              cap(scale · q[b, s, h]·k[b, t, g]) + slopes[h] (t - at) + mask[b, h, s, t], cap(x) = softcap · \
              tanh(x / softcap) unless that is 0, at = s + reach - S, over t < lengths[b] and, if reach is \
              not 0, at - left ≤ t ≤ at + right, where reach is T (1), S (2) or lengths[b] (3); sinks[h] is \
              the score of one t more, whose v is 0; 0 if no t is seen or all masks are -∞; lse[b, h, s] = \
              log Σ_t exp(score), -∞ where no t is seen. k_form and v_form number the form of \
              quantised rows, 0 of plain ones, v_width is C of quantised values; with pages k[b, t] is \
              k[pages[b, 1 + t / page], t % page], page being the second size of k, and v likewise",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("q", &[B, S, H, D], FLOATS),
        Arg::new("k", &[B, T, G, D], CACHED),
        Arg::new("v", &[B, T, G, C], CACHED),
        Arg::optional("lengths", &[B], INDEX),
        Arg::optional("mask", &[B, H, S, T], FLOATS),
        Arg::optional("slopes", &[H], &[DType::F32]),
        Arg::optional("sinks", &[H], &[DType::F32]),
        Arg::optional("pages", &[B, P], INDEX),
    ],
    outputs: &[Arg::new("o", &[B, S, H, C], FLOATS), Arg::optional("lse", &[B, H, S], &[DType::F32])],
    attrs: &[
        ("reach", AttrKind::U32),
        ("left", AttrKind::U32),
        ("right", AttrKind::U32),
        ("softcap", AttrKind::F32),
        ("lse", AttrKind::U32),
        ("k_form", AttrKind::U32),
        ("v_form", AttrKind::U32),
        ("v_width", AttrKind::U32),
        ("scale", AttrKind::Float),
    ],
    infer: infer::infer,
    reference: reference::reference,
    flops: |s| 2.0 * s.product(&[B, S, T, H]) * (s.product(&[D]) + s.product(&[C])),
    kernels: &[&ONLINE, &split::SPLIT, &lanes::LANES, &rows::ROWS, &matrix::MATRIX_8, &matrix::MATRIX_16],
    cases: Cases {
        axes: &[(B, 2), (S, 5), (T, 7), (D, 20)],
        weights: &[DType::F32],
        variants: &[
            "full",
            "causal",
            "lengths",
            "lengths_causal",
            "grouped",
            "equal_scores",
            "one_hot",
            "mask",
            "mask_causal_lse",
            "lse",
            "wide_values",
            "lengths_reach",
            "causal_start",
            "causal_window",
            "window",
            "softcap_alibi",
            "softcap_sinks_lse",
            "int8_q4_0",
            "q4_0_int8_wide",
            "q8_0_paged_causal_lse",
            "q8_0",
            "paged",
        ],
        applies: |_| true,
        // A workgroup for each of two heads.
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(1) / 2), (S, 1), (T, 2), (D, 3)])),
        build: cases::build,
        fill: cases::fill,
    },
};

static ONLINE: Kernel = Kernel {
    name: "attention.online",
    file: "attention_online.wgsl",
    source: include_str!("../../shaders/attention_online.wgsl"),
    blocks: &[(S, 16), (T, 32), (T, 64), (D, 64), (D, 128), (D, 160)],
    knobs: |s| {
        let reach = s.attr_u32("reach");
        let hides = reach != 0 || s.arg("mask").is_some();
        let mut knobs = vec![
            ("REACH", format!("{reach}u")),
            ("LEFT", (s.attr_u32("left") != OPEN).to_string()),
            ("HIDES", hides.to_string()),
            ("D16", format!("{}u", s.size(C).div_ceil(64).clamp(1, 4))),
        ];
        knobs.extend(of_caches(s));
        knobs
    },
    workgroups: |s| {
        let heads = s.dim(B).times(&s.dim(H));
        let chunks = s.size(C).div_ceil(256).max(usize::from(s.arg("lse").is_some()));
        Expr::Mul(vec![heads.times(&chunks.into()).into(), Expr::from(s.dim(S)).ceil_div(16)])
    },
    cost: |s| {
        let tiles = (s.size(S) as f64 / 16.0).ceil();
        let width = s.size(C).div_ceil(256).max(1) * s.size(D) + s.size(C);
        let work = Work {
            flops: 2.0 * tiles * 16.0 * s.sizes.product(&[B, T, H]) * width as f64,
            bytes: s.bytes("q")
                + s.bytes("o")
                + s.bytes("mask")
                + (cache_bytes(s, "k") + cache_bytes(s, "v")) * tiles * s.sizes.product(&[H])
                    / s.sizes.product(&[G]).max(1.0),
            invocations: s.sizes.product(&[B, H]) * tiles * 64.0,
        };
        behind(s, work)
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

/// The work of a kernel that is made for GPUs: where there are kernels for processors it takes about six times as
/// long as they do (benches/log.md, 2026-11-30).
fn behind(s: &Site<'_>, work: Work) -> Work {
    let times = if lanes::fits(s).is_ok() { 6.0 } else { 1.0 };
    Work { flops: work.flops * times, bytes: work.bytes * times, ..work }
}

/// What the pieces are told that read keys and values: where scales begin in rows, and how long pages are.
fn of_caches(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let words = |name, form, width| {
        let form = CacheForm::from_number(s.attr_u32(form))?;
        Some((name, format!("{}u", form.code_bytes(s.size(width)) / 4)))
    };
    let page = s.arg("pages").and(s.arg("k")).and_then(|k| k.shape[1].constant());
    let page = page.map(|page| ("PAGE", format!("{page}u")));
    [words("k_words", "k_form", D), words("v_words", "v_form", C), page].into_iter().flatten().collect()
}

/// The bytes of keys or values that sequences have: all of them, or those in as many pages.
fn cache_bytes(s: &Site<'_>, name: &str) -> f64 {
    let Some(cache) = s.arg(name).filter(|_| s.arg("pages").is_some()) else { return s.bytes(name) };
    let keys: f64 = cache.shape[..2].iter().map(|d| d.max(s.scalars) as f64).product();
    s.bytes(name) / keys.max(1.0) * s.sizes.product(&[B, T])
}

/// What attention takes besides queries, keys and values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attention {
    /// u32 `[B]`: keys from `lengths[b]` on do not exist.
    pub lengths: Option<ValueId>,
    /// f32 `[H]`: what the score of a key gains for each place that it lies further on, as in ALiBi.
    pub slopes: Option<ValueId>,
    /// f32 `[H]`: the score of one key more, whose value is 0.
    pub sinks: Option<ValueId>,
    /// Added to the scores: f32 or f16, of a shape that broadcasts to `[B, H, S, T]`. -∞ hides a key.
    pub mask: Option<ValueId>,
    /// Whether later keys are hidden: query `s` stands at `at = s + reach - S` and sees the keys `t ≤ at`.
    pub causal: bool,
    /// Where the last query stands, if there is causality, a window or slopes.
    pub reach: Reach,
    /// How many keys before its own a query sees: those from `at - left` on; all of them unless given.
    pub left: Option<u32>,
    /// How many keys after its own a query sees: those up to `at + right`; all of them unless given. Causality, by
    /// which none is seen, comes first.
    pub right: Option<u32>,
    /// c in c·tanh(score / c), which keeps scores within ±c before anything is added to them.
    pub softcap: Option<f32>,
    /// What products of queries and keys are multiplied by: 1/√D unless given.
    pub scale: Option<f32>,
    /// How keys lie in a quantised cache: k is u8 `[B, T, G, row_bytes]` then, see
    /// [`formats::cache`](crate::formats::cache).
    pub k_form: Option<CacheForm>,
    /// How values do.
    pub v_form: Option<CacheForm>,
    /// C, the elements of a row of values in a quantised cache: D unless given.
    pub v_width: Option<u32>,
    /// u32 `[B, 1 + P]`, as [`At::pages`](crate::ops::append::At::pages): behind the first of a row, which is not
    /// looked at here, the pages that hold a sequence's keys, of `page` each. k is `[N, page, G, D]` then, v
    /// likewise, T is P · page, and key t of sequence b is `k[pages[b, 1 + t / page], t % page]`.
    /// [`lengths`](Self::lengths) must be given. A page from N on counts as N - 1, and nobody complains: what
    /// stands behind the pages that a sequence has may be anything, and whoever makes the table sees to the rest.
    pub pages: Option<ValueId>,
}

/// Where among the keys the last of S queries stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// All T: the queries are those of the last keys.
    #[default]
    Keys,
    /// S: the queries are those of the first keys.
    Queries,
    /// `lengths[b]`: the queries are those of the last keys that exist. Without lengths that is all T.
    Lengths,
}

impl Graph {
    /// Attention of queries `q [B, S, H, D]` over keys `k [B, T, G, D]` and values `v [B, T, G, C]`, H a
    /// multiple of G: `[B, S, H, C]`. A query that sees no key gives 0. Keys and values may lie in a quantised
    /// cache, and in pages.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ, H is no multiple of G, the mask does not broadcast, or rows of
    /// a quantised cache have other bytes; [`Error::Argument`] where options or types do not go together.
    pub fn attention(&mut self, q: ValueId, k: ValueId, v: ValueId, how: Attention) -> Result<ValueId> {
        Ok(self.attend(q, k, v, how, false)?[0])
    }

    /// As [`attention`](Self::attention), and log Σ exp of each query's scores: f32 `[B, H, S]`, -∞ for a
    /// query that sees no key. Results over parts of the keys can be joined by it.
    ///
    /// # Errors
    /// As [`attention`](Self::attention).
    pub fn attention_lse(
        &mut self,
        q: ValueId,
        k: ValueId,
        v: ValueId,
        how: Attention,
    ) -> Result<(ValueId, ValueId)> {
        let both = self.attend(q, k, v, how, true)?;
        Ok((both[0], both[1]))
    }

    fn attend(
        &mut self,
        q: ValueId,
        k: ValueId,
        v: ValueId,
        how: Attention,
        lse: bool,
    ) -> Result<Vec<ValueId>> {
        self.has(q)?;
        self.has(k)?;
        let size = |x: ValueId, axis: usize| self.value(x).shape.get(axis).cloned().unwrap_or(Dim::ONE);
        let width = size(q, 3).constant().unwrap_or(1).max(1);
        let scale = how.scale.unwrap_or_else(|| (1.0 / (width as f64).sqrt()) as f32);
        let keys = match how.pages {
            Some(pages) => {
                self.has(pages)?;
                let columns = size(pages, 1).constant().unwrap_or(0);
                size(k, 1).times(&Dim::from(columns.saturating_sub(1)))
            }
            None => size(k, 1),
        };
        let whole = [size(q, 0), size(q, 2), size(q, 1), keys];
        let mask = match how.mask {
            Some(mask) => Some(self.expand(mask, &whole).map_err(|e| match e {
                Error::Shape(text) => Error::Shape(format!("attention: `mask` over [B, H, S, T]: {text}")),
                other => other,
            })?),
            None => None,
        };
        let right = if how.causal { Some(0) } else { how.right };
        let stands = how.slopes.is_some() || how.left.is_some() || right.is_some();
        let attrs = [
            ("reach", Attr::U32(if stands { how.reach as u32 + 1 } else { 0 })),
            ("left", Attr::U32(how.left.unwrap_or(OPEN))),
            ("right", Attr::U32(right.unwrap_or(OPEN))),
            ("softcap", Attr::F32(how.softcap.unwrap_or(0.0))),
            ("lse", Attr::U32(u32::from(lse))),
            ("k_form", Attr::U32(how.k_form.map_or(0, CacheForm::number))),
            ("v_form", Attr::U32(how.v_form.map_or(0, CacheForm::number))),
            ("v_width", Attr::U32(how.v_form.map_or(0, |_| how.v_width.unwrap_or(width as u32)))),
            ("scale", Attr::F32(scale)),
        ];
        let others = [how.lengths, mask, how.slopes, how.sinks, how.pages];
        self.apply(&ATTENTION, &[&[Some(q), Some(k), Some(v)][..], &others].concat(), &attrs)
    }
}

//! Scaled dot-product attention: softmax(scale·q·kᵀ)·v, query heads over key/value heads.
//!
//! The scores are never stored. q, k and v may be views of one packed tensor.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::op::Axis::{B, C, D, G, H, S, T};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, Shape, Sizes};
use crate::ops::past_one_axis;
use crate::plan::Numerics;

mod reference;

/// o = softmax_t(scale · q·k + mask) · v and lse = log Σ_t exp(scale · q·k + mask); a query that sees no
/// key gives 0 and -∞.
pub static ATTENTION: Op = Op {
    name: "attention",
    formula: "o[b, s, h] = Σ_t softmax_t(scale · q[b, s, h]·k[b, t, g] + mask[b, h, s, t]) v[b, t, g], \
              g = h·G/H, over t < lengths[b] and, if causal, t ≤ s + reach - S, where reach is T (causal \
              1), S (2) or lengths[b] (3); 0 if there is no such t or all masks are -∞; \
              lse[b, h, s] = log Σ_t exp(…), -∞ where that is 0",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("q", &[B, S, H, D], FLOATS),
        Arg::new("k", &[B, T, G, D], FLOATS),
        Arg::new("v", &[B, T, G, C], FLOATS),
        Arg::optional("lengths", &[B], INDEX),
        Arg::optional("mask", &[B, H, S, T], FLOATS),
    ],
    outputs: &[Arg::new("o", &[B, S, H, C], FLOATS), Arg::optional("lse", &[B, H, S], &[DType::F32])],
    attrs: &[("causal", AttrKind::U32), ("lse", AttrKind::U32), ("scale", AttrKind::Float)],
    infer,
    reference: reference::reference,
    flops: |s| 2.0 * s.product(&[B, S, T, H]) * (s.product(&[D]) + s.product(&[C])),
    kernels: &[&ONLINE],
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
        ],
        // A workgroup for each of two heads.
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(1) / 2), (S, 1), (T, 2), (D, 3)])),
        build,
        fill,
    },
};

static ONLINE: Kernel = Kernel {
    name: "attention.online",
    file: "attention_online.wgsl",
    source: include_str!("../../shaders/attention_online.wgsl"),
    blocks: &[(S, 16), (T, 32), (T, 64), (D, 64), (D, 128), (D, 160)],
    fits: |s| match s.size(C) {
        0..=256 => Ok(()),
        c => Err(format!("`v` has C = {c}, but its registers hold at most 256")),
    },
    knobs: |s| {
        let causal = s.attr_u32("causal");
        let hides = causal != 0 || s.arg("mask").is_some();
        vec![
            ("CAUSAL", format!("{causal}u")),
            ("HIDES", hides.to_string()),
            ("D16", format!("{}u", s.size(C).div_ceil(64).max(1))),
        ]
    },
    workgroups: |s| {
        let heads = s.dim(B).times(&s.dim(H));
        let any = Dim::from(if s.arg("lse").is_some() { 1 } else { s.size(C).min(1) });
        Expr::Mul(vec![heads.times(&any).into(), Expr::from(s.dim(S)).ceil_div(16)])
    },
    cost: |s| {
        let tiles = (s.size(S) as f64 / 16.0).ceil();
        Work {
            flops: 2.0 * tiles * 16.0 * s.sizes.product(&[B, T, H]) * (s.size(D) + s.size(C)) as f64,
            bytes: s.bytes("q")
                + s.bytes("o")
                + s.bytes("mask")
                + (s.bytes("k") + s.bytes("v")) * tiles * s.sizes.product(&[H])
                    / s.sizes.product(&[G]).max(1.0),
            invocations: s.sizes.product(&[B, H]) * tiles * 64.0,
        }
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (q, k, v) = (i.rank(0, 4)?.to_vec(), i.rank(1, 4)?.to_vec(), i.rank(2, 4)?.to_vec());
    i.same(B, (0, &q[0]), (1, &k[0]))?;
    i.same(D, (0, &q[3]), (1, &k[3]))?;
    for (at, axis) in [B, T, G].into_iter().enumerate() {
        i.same(axis, (1, &k[at]), (2, &v[at]))?;
    }
    let given = |arg: usize| i.inputs.get(arg).is_some_and(Option::is_some);
    if given(3) {
        i.same(B, (0, &q[0]), (3, &i.rank(3, 1)?[0]))?;
    }
    if given(4) {
        let mask = i.rank(4, 4)?;
        for (at, (axis, from, size)) in
            [(B, 0, &q[0]), (H, 0, &q[2]), (S, 0, &q[1]), (T, 1, &k[1])].into_iter().enumerate()
        {
            i.same(axis, (from, size), (4, &mask[at]))?;
        }
    }
    let (Some(h), Some(g), Some(_), Some(_)) =
        (q[2].constant(), k[2].constant(), q[3].constant(), v[3].constant())
    else {
        return Err(Error::Shape("attention: H, G, D and C must be fixed, not dims of the call".into()));
    };
    if g == 0 || !h.is_multiple_of(g) {
        return Err(Error::Shape(format!(
            "attention: `q` has H = {h}, which is no multiple of G = {g} of `k`"
        )));
    }
    for (attr, most) in [("causal", 3), ("lse", 1)] {
        let n = i.attr_u32(attr).unwrap_or(0);
        if n > most {
            return Err(Error::Argument(format!(
                "attention: `{attr}` is {n}, but it must be from 0 to {most}"
            )));
        }
    }
    let sizes = [(B, &q[0]), (S, &q[1]), (T, &k[1]), (H, &q[2]), (G, &k[2]), (D, &q[3]), (C, &v[3])];
    let mut outputs = vec![([&q[..3], &v[3..]].concat(), i.operand(0)?.dtype)];
    if i.attr_u32("lse") == Some(1) {
        outputs.push((vec![q[0].clone(), q[2].clone(), q[1].clone()], DType::F32));
    }
    let axes = Axes::new(&sizes.map(|(a, d)| (a, d.clone())));
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, s, t, d] = [B, S, T, D].map(|a| Dim::from(shape.sizes.get(a)));
    let (h, kv) = if shape.variant == 4 { (6, 2) } else { (2, 2) };
    let c = if shape.variant == 10 { Dim::from(shape.sizes.get(D) + 7) } else { d.clone() };
    let q = g.input("q", shape.x, &[b.clone(), s.clone(), h.into(), d.clone()])?;
    let k = g.input("k", shape.x, &[b.clone(), t.clone(), kv.into(), d])?;
    let v = g.input("v", shape.x, &[b.clone(), t.clone(), kv.into(), c])?;
    let given = matches!(shape.variant, 2 | 3 | 9 | 11);
    let lengths = given.then(|| g.input("lengths", DType::U32, std::slice::from_ref(&b))).transpose()?;
    let mask = match shape.variant {
        7 => Some(g.input("mask", DType::F32, &[b, 1.into(), s, t])?),
        8 => Some(g.input("mask", shape.x, &[2.into(), s, t])?),
        _ => None,
    };
    let attention = Attention {
        lengths,
        mask,
        causal: matches!(shape.variant, 1 | 3 | 8 | 11 | 12),
        reach: match shape.variant {
            11 => Reach::Lengths,
            12 => Reach::Queries,
            _ => Reach::Keys,
        },
        scale: Some(0.25),
    };
    if matches!(shape.variant, 8 | 9) {
        let (o, lse) = g.attention_lse(q, k, v, attention)?;
        g.output("lse", lse)?;
        return g.output("o", o);
    }
    let o = g.attention(q, k, v, attention)?;
    g.output("o", o)
}

fn fill(name: &str, shape: &Shape, rng: &mut crate::rng::Rng) -> Option<Vec<f64>> {
    let [b, s, t, d] = [B, S, T, D].map(|a| shape.sizes.get(a));
    match name {
        // Without a key, log Σ exp is that of nothing.
        "lengths" if shape.variant == 9 => Some((0..b).map(|i| (i * t / b.max(1)) as f64).collect()),
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
        "q" if shape.variant == 5 => Some(vec![0.0; b * s * 2 * d]),
        _ => None,
    }
}

/// A key that masks hide from every query.
const HIDDEN_KEY: usize = 3;

/// What is added to `rows` rows of scores: numbers, what is as good as -∞, -∞, and for every fifth row
/// only that.
fn mask(rows: usize, t: usize, low: f64, rng: &mut crate::rng::Rng) -> Vec<f64> {
    let one = |i: usize, rng: &mut crate::rng::Rng| match rng.below(4) {
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

/// What attention takes besides queries, keys and values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attention {
    /// u32 `[B]`: keys from `lengths[b]` on do not exist.
    pub lengths: Option<ValueId>,
    /// Added to the scores: f32 or f16, of a shape that broadcasts to `[B, H, S, T]`. -∞ hides a key.
    pub mask: Option<ValueId>,
    /// Whether later keys are hidden: query `s` sees the keys `t ≤ s + reach - S`.
    pub causal: bool,
    /// Up to which key the last query sees, if `causal`.
    pub reach: Reach,
    /// What products of queries and keys are multiplied by: 1/√D unless given.
    pub scale: Option<f32>,
}

/// Up to which key the last of S queries sees in causal attention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// All T: the queries are those of the last keys.
    #[default]
    Keys,
    /// S: the queries are those of the first keys.
    Queries,
    /// `lengths[b]`: the queries are those of the last keys that exist.
    Lengths,
}

impl Graph {
    /// Attention of queries `q [B, S, H, D]` over keys `k [B, T, G, D]` and values `v [B, T, G, C]`, H a
    /// multiple of G and C at most 256: `[B, S, H, C]`. A query that sees no key gives 0.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ, H is no multiple of G, or the mask does not broadcast.
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
        let whole = [size(q, 0), size(q, 2), size(q, 1), size(k, 1)];
        let mask = match how.mask {
            Some(mask) => Some(self.expand(mask, &whole).map_err(|e| match e {
                Error::Shape(text) => Error::Shape(format!("attention: `mask` over [B, H, S, T]: {text}")),
                other => other,
            })?),
            None => None,
        };
        let causal = if how.causal { how.reach as u32 + 1 } else { 0 };
        let attrs =
            [("causal", Attr::U32(causal)), ("lse", Attr::U32(u32::from(lse))), ("scale", Attr::F32(scale))];
        self.apply(&ATTENTION, &[Some(q), Some(k), Some(v), how.lengths, mask], &attrs)
    }
}

//! Scaled dot-product attention: softmax(scale·q·kᵀ)·v, query heads over key/value heads.
//!
//! The scores are never stored. q, k and v may be views of one packed tensor.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::op::Axis::{B, C, D, G, H, S, T};
use crate::op::{Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, Sizes};
use crate::ops::past_one_axis;
use crate::plan::Numerics;

mod cases;
mod reference;
mod split;

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
              log Σ_t exp(score), -∞ where no t is seen",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("q", &[B, S, H, D], FLOATS),
        Arg::new("k", &[B, T, G, D], FLOATS),
        Arg::new("v", &[B, T, G, C], FLOATS),
        Arg::optional("lengths", &[B], INDEX),
        Arg::optional("mask", &[B, H, S, T], FLOATS),
        Arg::optional("slopes", &[H], &[DType::F32]),
        Arg::optional("sinks", &[H], &[DType::F32]),
    ],
    outputs: &[Arg::new("o", &[B, S, H, C], FLOATS), Arg::optional("lse", &[B, H, S], &[DType::F32])],
    attrs: &[
        ("reach", AttrKind::U32),
        ("left", AttrKind::U32),
        ("right", AttrKind::U32),
        ("softcap", AttrKind::F32),
        ("lse", AttrKind::U32),
        ("scale", AttrKind::Float),
    ],
    infer,
    reference: reference::reference,
    flops: |s| 2.0 * s.product(&[B, S, T, H]) * (s.product(&[D]) + s.product(&[C])),
    kernels: &[&ONLINE, &split::SPLIT],
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
        ],
        // A workgroup for each of two heads.
        applies: |_| true,
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
        vec![
            ("REACH", format!("{reach}u")),
            ("LEFT", (s.attr_u32("left") != OPEN).to_string()),
            ("HIDES", hides.to_string()),
            ("D16", format!("{}u", s.size(C).div_ceil(64).clamp(1, 4))),
        ]
    },
    workgroups: |s| {
        let heads = s.dim(B).times(&s.dim(H));
        let chunks = s.size(C).div_ceil(256).max(usize::from(s.arg("lse").is_some()));
        Expr::Mul(vec![heads.times(&chunks.into()).into(), Expr::from(s.dim(S)).ceil_div(16)])
    },
    cost: |s| {
        let tiles = (s.size(S) as f64 / 16.0).ceil();
        let width = s.size(C).div_ceil(256).max(1) * s.size(D) + s.size(C);
        Work {
            flops: 2.0 * tiles * 16.0 * s.sizes.product(&[B, T, H]) * width as f64,
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
    for arg in [5, 6].into_iter().filter(|arg| given(*arg)) {
        i.same(H, (0, &q[2]), (arg, &i.rank(arg, 1)?[0]))?;
    }
    let softcap = i.attrs.iter().find(|(name, _)| *name == "softcap").map(|(_, a)| *a);
    if let Some(Attr::F32(cap)) = softcap
        && cap != 0.0
        && !(1e-4..=1e9).contains(&cap)
    {
        return Err(Error::Argument(format!(
            "attention: `softcap` is {cap}, but it must be from 1e-4 to 1e9"
        )));
    }
    let bounded = ["left", "right"].iter().any(|side| i.attr_u32(side).unwrap_or(OPEN) != OPEN);
    if i.attr_u32("reach") == Some(0) && (bounded || given(5)) {
        return Err(Error::Argument(
            "attention: `left`, `right` and `slopes` need a `reach` from 1 to 3: where queries are".into(),
        ));
    }
    for (attr, most) in [("reach", 3), ("lse", 1)] {
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
    /// How many keys after its own a query sees: those up to `at + right`; all of them unless given or causal.
    pub right: Option<u32>,
    /// c in c·tanh(score / c), which keeps scores within ±c before anything is added to them.
    pub softcap: Option<f32>,
    /// What products of queries and keys are multiplied by: 1/√D unless given.
    pub scale: Option<f32>,
}

/// Where among the keys the last of S queries stands.
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
    /// multiple of G: `[B, S, H, C]`. A query that sees no key gives 0.
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
        let right = if how.causal { Some(0) } else { how.right };
        let stands = how.slopes.is_some() || how.left.is_some() || right.is_some();
        let attrs = [
            ("reach", Attr::U32(if stands { how.reach as u32 + 1 } else { 0 })),
            ("left", Attr::U32(how.left.unwrap_or(OPEN))),
            ("right", Attr::U32(right.unwrap_or(OPEN))),
            ("softcap", Attr::F32(how.softcap.unwrap_or(0.0))),
            ("lse", Attr::U32(u32::from(lse))),
            ("scale", Attr::F32(scale)),
        ];
        self.apply(&ATTENTION, &[Some(q), Some(k), Some(v), how.lengths, mask, how.slopes, how.sinks], &attrs)
    }
}

//! Scaled dot-product attention: softmax(scale·q·kᵀ)·v, query heads over key/value heads.
//!
//! The scores are never stored. q, k and v may be views of one packed tensor.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::{Approx, EITHER_NEIGHBOUR, LAMBDA, Sum, U32, round_error};
use crate::op::Axis::{B, D, G, H, S, T};
use crate::op::{
    Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes,
};
use crate::ops::elementwise::DIVISION;
use crate::ops::{for_each_row, past_one_axis};
use crate::plan::Numerics;

/// o = softmax_t(scale · q·k) · v; a query that sees no key gives 0.
pub static ATTENTION: Op = Op {
    name: "attention",
    formula: "o[b, s, h] = Σ_t softmax_t(scale · q[b, s, h]·k[b, t, g]) v[b, t, g], g = h·G/H, over \
              t < lengths[b] and, if causal, t ≤ s + T - S; 0 if there is no such t",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("q", &[B, S, H, D], FLOATS),
        Arg::new("k", &[B, T, G, D], FLOATS),
        Arg::new("v", &[B, T, G, D], FLOATS),
        Arg::optional("lengths", &[B], INDEX),
    ],
    outputs: &[Arg::new("o", &[B, S, H, D], FLOATS)],
    attrs: &[("causal", AttrKind::U32), ("scale", AttrKind::Float)],
    infer,
    reference,
    flops: |s| 4.0 * s.product(&[B, S, T, H, D]),
    kernels: &[&ONLINE],
    cases: Cases {
        axes: &[(B, 2), (S, 5), (T, 7), (D, 20)],
        weights: &[DType::F32],
        variants: &["full", "causal", "lengths", "lengths_causal", "grouped", "equal_scores", "one_hot"],
        // A workgroup for each of two heads.
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
    fits: |s| match s.size(D) {
        0..=256 => Ok(()),
        d => Err(format!("D = {d}, but its registers hold at most 256")),
    },
    knobs: |s| {
        let causal = if s.attr_u32("causal") == 1 { "true" } else { "false" };
        vec![("CAUSAL", causal.into()), ("D16", format!("{}u", s.size(D).div_ceil(64).max(1)))]
    },
    workgroups: |s| {
        let heads = s.dim(B).times(&s.dim(H));
        let any = Dim::from(s.size(D).min(1));
        Expr::Mul(vec![heads.times(&any).into(), Expr::from(s.dim(S)).ceil_div(16)])
    },
    cost: |s| {
        let tiles = (s.size(S) as f64 / 16.0).ceil();
        Work {
            flops: 4.0 * tiles * 16.0 * s.sizes.product(&[B, T, H, D]),
            bytes: s.bytes("q")
                + s.bytes("o")
                + (s.bytes("k") + s.bytes("v")) * tiles * s.sizes.product(&[H])
                    / s.sizes.product(&[G]).max(1.0),
            invocations: s.sizes.product(&[B, H]) * tiles * 64.0,
        }
    },
    numerics: Numerics::F32,
    batch_invariant: true,
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (q, k, v) = (i.rank(0, 4)?.to_vec(), i.rank(1, 4)?.to_vec(), i.rank(2, 4)?.to_vec());
    i.same(B, (0, &q[0]), (1, &k[0]))?;
    i.same(D, (0, &q[3]), (1, &k[3]))?;
    for (at, axis) in [B, T, G, D].into_iter().enumerate() {
        i.same(axis, (1, &k[at]), (2, &v[at]))?;
    }
    if i.inputs.get(3).is_some_and(Option::is_some) {
        i.same(B, (0, &q[0]), (3, &i.rank(3, 1)?[0]))?;
    }
    let (Some(h), Some(g), Some(_)) = (q[2].constant(), k[2].constant(), q[3].constant()) else {
        return Err(Error::Shape("attention: H, G and D must be fixed, not dims of the call".into()));
    };
    if g == 0 || !h.is_multiple_of(g) {
        return Err(Error::Shape(format!(
            "attention: `q` has H = {h}, which is no multiple of G = {g} of `k`"
        )));
    }
    let sizes = [(B, &q[0]), (S, &q[1]), (T, &k[1]), (H, &q[2]), (G, &k[2]), (D, &q[3])];
    let outputs = vec![(q.clone(), i.operand(0)?.dtype)];
    let axes = Axes::new(&sizes.map(|(a, d)| (a, d.clone())));
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

// Score: the sum's bound, two roundings for the scale. exp(score - largest): the score's error and
// the difference's rounding become relative, and exp costs (3 + 2|x|) ulp; rescaling multiplies one
// such factor per tile of keys, whose exponents add up to |x| again. Numerator and denominator are
// sums of n terms; a division (or an inverse and a product). Never worse than max|v| + |o|, since
// the result is a mean of v.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [b, s, t, h, g, d] = [B, S, T, H, G, D].map(|a| c.sizes.get(a));
    let (q, k, v, lengths) = (c.input(0), c.input(1), c.input(2), c.inputs[3]);
    let (scale, causal) = (c.attr("scale"), c.attr("causal") != 0.0);
    let mut out = Approx::exact(&q.shape, vec![0.0; b * s * h * d]);
    for_each_row(d, &mut out.value, &mut out.error, b * s * h * t * d * 2, |row, value, error| {
        let (batch, query, head) = (row / (s * h), row / h % s, row % h);
        let length = lengths.map_or(t, |l| (l.value[batch] as usize).min(t));
        let seen = if causal { length.min((query + 1 + t).saturating_sub(s)) } else { length };
        let kv = |key: usize| ((batch * t + key) * g + head / (h / g)) * d;
        let scores: Vec<(f64, f64)> = (0..seen)
            .map(|key| {
                let mut sum = Sum::new();
                for i in 0..d {
                    let ((x, ex), (y, ey)) = (q.at(row * d + i), k.at(kv(key) + i));
                    sum.add(x * y, x.abs() * ey + ex * (y.abs() + ey));
                }
                let (dot, e) = sum.finish();
                (dot * scale, round_error(dot * scale, e * scale.abs()))
            })
            .collect();
        weigh(&scores, |key, i| v.at(kv(key) + i), value, error);
    });
    vec![out]
}

/// The mean of `v` weighted by softmax of the scores, each with its error.
fn weigh(
    scores: &[(f64, f64)],
    v: impl Fn(usize, usize) -> (f64, f64),
    value: &mut [f64],
    error: &mut [f64],
) {
    let largest = scores.iter().fold(f64::NEG_INFINITY, |m, s| m.max(s.0));
    let tiles = scores.len().div_ceil(32) as f64;
    let round = EITHER_NEIGHBOUR * U32;
    let (mut mass, mut mass_error) = (0.0, 0.0);
    let mut weights = Vec::with_capacity(scores.len());
    for (score, e) in scores {
        let x = score - largest;
        let relative = e + 3.0 * round * x.abs() + (tiles + 1.0) * 5.0 * round;
        let w = x.exp();
        let w_error = w * relative.min(700.0).exp_m1() + 2e-38;
        mass += w;
        mass_error += w_error;
        weights.push((w, w_error));
    }
    let n = scores.len() as f64 + tiles + 1.0;
    let sum = n.min(LAMBDA * n.sqrt()) * U32;
    for (i, (out, out_error)) in value.iter_mut().zip(error).enumerate() {
        let (mut total, mut magnitude, mut e, mut top) = (0.0, 0.0, 0.0, 0f64);
        for (key, (w, w_error)) in weights.iter().enumerate() {
            let (x, ex) = v(key, i);
            total += w * x;
            magnitude += w * x.abs();
            e += w_error * (x.abs() + ex) + w * ex;
            top = top.max(x.abs() + ex);
        }
        if scores.is_empty() {
            continue;
        }
        *out = total / mass;
        let numerator = e + sum * magnitude + n * f64::from(f32::MIN_POSITIVE);
        let denominator = mass_error + sum * mass;
        let quotient = (numerator + out.abs() * denominator) / (mass - denominator).max(mass * 0.25);
        let capped = quotient.min(top + out.abs() + top * sum);
        *out_error = round_error(*out, capped + (DIVISION + round) * out.abs());
    }
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, s, t, d] = [B, S, T, D].map(|a| Dim::from(shape.sizes.get(a)));
    let (h, kv) = if shape.variant == 4 { (6, 2) } else { (2, 2) };
    let q = g.input("q", shape.x, &[b.clone(), s, h.into(), d.clone()])?;
    let k = g.input("k", shape.x, &[b.clone(), t.clone(), kv.into(), d.clone()])?;
    let v = g.input("v", shape.x, &[b.clone(), t, kv.into(), d])?;
    let lengths = matches!(shape.variant, 2 | 3).then(|| g.input("lengths", DType::U32, &[b])).transpose()?;
    let o = g.attention(q, k, v, lengths, matches!(shape.variant, 1 | 3), Some(0.25))?;
    g.output("o", o)
}

fn fill(name: &str, shape: &Shape, rng: &mut crate::rng::Rng) -> Option<Vec<f64>> {
    let [b, s, t, d] = [B, S, T, D].map(|a| shape.sizes.get(a));
    match name {
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
        "q" if shape.variant == 5 => Some(vec![0.0; b * s * 2 * d]),
        _ => None,
    }
}

/// Rows of width `d` whose first two elements are given.
fn rows(count: usize, d: usize, first: impl Fn(usize) -> [f64; 2]) -> Vec<f64> {
    let mut out = vec![0.0; count * d];
    out.chunks_mut(d).enumerate().for_each(|(i, row)| row[..2].copy_from_slice(&first(i)));
    out
}

impl Graph {
    /// Attention of queries `q [B, S, H, D]` over keys and values `k, v [B, T, G, D]`, H a multiple of G.
    /// Keys from `lengths[b]` on (u32 `[B]`) do not exist; with `causal`, query `s` sees keys up to
    /// `s + T - S`. `scale` is 1/√D unless given. D is at most 256.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ or H is no multiple of G.
    pub fn attention(
        &mut self,
        q: ValueId,
        k: ValueId,
        v: ValueId,
        lengths: Option<ValueId>,
        causal: bool,
        scale: Option<f32>,
    ) -> Result<ValueId> {
        self.has(q)?;
        let width = self.value(q).shape.get(3).and_then(Dim::constant).unwrap_or(1).max(1);
        let scale = scale.unwrap_or_else(|| (1.0 / (width as f64).sqrt()) as f32);
        let attrs = [("causal", Attr::U32(u32::from(causal))), ("scale", Attr::F32(scale))];
        self.apply_one(&ATTENTION, &[Some(q), Some(k), Some(v), lengths], &attrs)
    }
}

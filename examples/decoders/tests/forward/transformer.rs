//! Llama 3 (Dubey et al. 2024), Qwen3 (Yang et al. 2025) with and without experts, Gemma 2 and 3 (Gemma Team 2024,
//! 2025), by the formulas of `transformers`' `modeling_llama`, `modeling_qwen3`, `modeling_qwen3_moe`,
//! `modeling_gemma2` and `modeling_gemma3`. Gains of Gemma are those of GGUF files, with the 1 that its formula
//! adds.

use std::f64::consts::PI;

use decoders::config::{self, Stretch};
use tachylite::op::Unary;
use tachylite::ops::rope::Pairing;

use super::{Forward, Numbers, Real, plus, product, rms_norm, sum};

/// A model and the keys and values of all its tokens.
pub struct Transformer<'a, R> {
    c: &'a config::Transformer,
    numbers: &'a Numbers<'a>,
    /// Of each layer, of each token: all heads.
    keys: Vec<Vec<Vec<R>>>,
    values: Vec<Vec<Vec<R>>>,
    margin: f64,
}

impl<'a, R: Real> Transformer<'a, R> {
    pub fn new(c: &'a config::Transformer, numbers: &'a Numbers<'a>) -> Self {
        let none = || (0..c.layers).map(|_| Vec::new()).collect();
        Self { c, numbers, keys: none(), values: none(), margin: f64::INFINITY }
    }

    fn linear(&self, x: &[R], layer: usize, part: &str) -> Vec<R> {
        product(&self.numbers.get(&format!("blk.{layer}.{part}.weight")), x)
    }

    fn norm(&self, x: &[R], layer: usize, part: &str) -> Vec<R> {
        rms_norm(x, &self.numbers.get(&format!("blk.{layer}.{part}.weight")), self.c.eps)
    }

    /// Each head by itself.
    fn head_norm(&self, x: &[R], layer: usize, part: &str) -> Vec<R> {
        if !self.c.head_norms {
            return x.to_vec();
        }
        x.chunks_exact(self.c.head_width).flat_map(|head| self.norm(head, layer, part)).collect()
    }

    fn window(&self, layer: usize) -> Option<&config::Window> {
        self.c.window.as_ref().filter(|w| !(layer + 1).is_multiple_of(w.full_every))
    }

    fn attend(&mut self, x: &[R], layer: usize) -> Vec<R> {
        let (c, d) = (self.c, self.c.head_width);
        let at = self.keys[layer].len();
        let rotation = self.window(layer).map_or(&c.rotation, |w| &w.rotation);
        let turned =
            |x: Vec<R>| -> Vec<R> { x.chunks_exact(d).flat_map(|head| rotate(head, at, rotation)).collect() };
        let q = turned(self.head_norm(&self.linear(x, layer, "attn_q"), layer, "attn_q_norm"));
        let k = turned(self.head_norm(&self.linear(x, layer, "attn_k"), layer, "attn_k_norm"));
        let v = self.linear(x, layer, "attn_v");
        self.keys[layer].push(k);
        self.values[layer].push(v);
        let from = self.window(layer).map_or(0, |w| (at + 1).saturating_sub(w.width));
        let scale = match c.query_scale {
            Some(scale) => R::weight(scale),
            None => R::of(1.0) / R::of(d as f64).sqrt(),
        };
        let mut out = Vec::with_capacity(q.len());
        for (h, q) in q.chunks_exact(d).enumerate() {
            let own = h / (c.heads / c.kv_heads) * d;
            let score = |k: &Vec<R>| {
                let score = sum(q.iter().zip(&k[own..own + d]).map(|(q, k)| *q * *k)) * scale;
                c.score_cap.map_or(score, |cap| capped(score, cap))
            };
            let scores: Vec<R> = self.keys[layer][from..].iter().map(score).collect();
            let shares = softmax(&scores);
            let values = &self.values[layer][from..];
            out.extend((0..d).map(|i| sum(shares.iter().zip(values).map(|(s, v)| *s * v[own + i]))));
        }
        self.linear(&out, layer, "attn_output")
    }

    fn gate(&self, x: R) -> R {
        match self.c.gate {
            Unary::Silu => x / (R::of(1.0) + (-x).exp()),
            // Hendrycks and Gimpel 2016.
            Unary::GeluTanh => {
                let inner = R::of((2.0 / PI).sqrt()) * (x + R::of(0.044715) * x * x * x);
                R::of(0.5) * x * (R::of(1.0) + inner.tanh())
            }
            other => panic!("{other:?}"),
        }
    }

    fn gated(&self, gate: &[R], up: &[R]) -> Vec<R> {
        gate.iter().zip(up).map(|(g, u)| self.gate(*g) * *u).collect()
    }

    fn feed_forward(&mut self, x: &[R], layer: usize) -> Vec<R> {
        let Some(e) = self.c.experts else {
            let gate = self.linear(x, layer, "ffn_gate");
            let up = self.linear(x, layer, "ffn_up");
            return self.linear(&self.gated(&gate, &up), layer, "ffn_down");
        };
        // Probabilities of all experts, of which the largest are met.
        let scores = softmax(&self.linear(x, layer, "ffn_gate_inp"));
        let mut order: Vec<usize> = (0..e.count).collect();
        order.sort_by(|a, b| scores[*b].wide().total_cmp(&scores[*a].wide()));
        let (last, next) = (scores[order[e.used - 1]].wide(), scores[order[e.used]].wide());
        self.margin = self.margin.min((last - next) / last);
        order.truncate(e.used);
        let all = if e.normalised { sum(order.iter().map(|i| scores[*i])) } else { R::of(1.0) };
        let mut out = vec![R::of(0.0); x.len()];
        for expert in order {
            let of = |part: &str, x: &[R]| {
                let name = format!("blk.{layer}.ffn_{part}_exps.weight");
                product(&self.numbers.part(&name, expert, e.count), x)
            };
            let inner = self.gated(&of("gate", x), &of("up", x));
            let share = scores[expert] / all;
            for (out, y) in out.iter_mut().zip(of("down", &inner)) {
                *out = *out + share * y;
            }
        }
        out
    }
}

impl<R: Real> Forward for Transformer<'_, R> {
    fn token(&mut self, id: u32) -> Vec<f64> {
        let c = self.c;
        let table = self.numbers.get("token_embd.weight");
        let mut x: Vec<R> = table[id as usize * c.width..][..c.width].iter().map(|w| R::weight(*w)).collect();
        if let Some(scale) = c.embedding_scale {
            x.iter_mut().for_each(|x| *x = *x * R::weight(scale));
        }
        for layer in 0..c.layers {
            let mut y = self.attend(&self.norm(&x, layer, "attn_norm"), layer);
            if c.sandwich {
                y = self.norm(&y, layer, "post_attention_norm");
            }
            x = plus(&x, &y);
            let mut y = self.feed_forward(&self.norm(&x, layer, "ffn_norm"), layer);
            if c.sandwich {
                y = self.norm(&y, layer, "post_ffw_norm");
            }
            x = plus(&x, &y);
        }
        let x = rms_norm(&x, &self.numbers.get("output_norm.weight"), c.eps);
        let head = if c.tied { table } else { self.numbers.get("output.weight") };
        let logits = product(&head, &x);
        logits.into_iter().map(|l| c.logit_cap.map_or(l, |cap| capped(l, cap)).wide()).collect()
    }

    fn margin(&self) -> f64 {
        self.margin
    }
}

/// cap · tanh(x / cap).
fn capped<R: Real>(x: R, cap: f32) -> R {
    R::weight(cap) * (x / R::weight(cap)).tanh()
}

fn softmax<R: Real>(scores: &[R]) -> Vec<R> {
    let most = scores.iter().fold(scores[0], |m, s| if *s > m { *s } else { m });
    let powers: Vec<R> = scores.iter().map(|s| (*s - most).exp()).collect();
    let all = sum(powers.iter().copied());
    powers.into_iter().map(|p| p / all).collect()
}

/// A head at a position (Su et al. 2021), its pairs in halves or neighbours.
fn rotate<R: Real>(head: &[R], at: usize, rotation: &config::Rotation) -> Vec<R> {
    let (d, half) = (head.len(), head.len() / 2);
    let mut out = head.to_vec();
    for i in 0..half {
        let exponent = R::of(2.0 * i as f64) / R::of(d as f64);
        let plain = R::of(1.0) / R::of(rotation.base).powf(exponent);
        let angle = R::of(at as f64) * stretched(plain, &rotation.stretch, i);
        let (sine, cosine) = (angle.sin(), angle.cos());
        let (a, b) = match rotation.pairing {
            Pairing::Halves => (i, i + half),
            _ => (2 * i, 2 * i + 1),
        };
        out[a] = head[a] * cosine - head[b] * sine;
        out[b] = head[b] * cosine + head[a] * sine;
    }
    out
}

/// A frequency for longer texts: `modeling_rope_utils` of `transformers`.
fn stretched<R: Real>(plain: R, stretch: &Stretch, pair: usize) -> R {
    match stretch {
        Stretch::None => plain,
        Stretch::Linear(factor) => plain / R::of(*factor),
        Stretch::Divided(factors) => plain / R::of(factors[pair]),
        Stretch::Llama3 { factor, low, high, original } => {
            let length = R::of(2.0 * PI) / plain;
            if length < R::of(original / high) {
                plain
            } else if length > R::of(original / low) {
                plain / R::of(*factor)
            } else {
                let smooth = (R::of(*original) / length - R::of(*low)) / R::of(high - low);
                (R::of(1.0) - smooth) * plain / R::of(*factor) + smooth * plain
            }
        }
    }
}

//! RWKV-7 (Peng et al. 2025, section 4; BlinkDL/RWKV-LM, `RWKV-v7/rwkv_v7_demo_rnn.py`): `time_mixing` and
//! `channel_mixing` of one token.

use decoders::config::Rwkv7;

use super::{Forward, Numbers, Real, layer_norm, plus, product, sigmoid, sum};

/// A model and what its layers keep.
pub struct Recurrent<'a, R> {
    c: &'a Rwkv7,
    numbers: &'a Numbers<'a>,
    layers: Vec<Kept<R>>,
}

/// What a layer keeps of the tokens before.
struct Kept<R> {
    /// The last token's vectors, as time mix and channel mix read them.
    time: Vec<R>,
    channel: Vec<R>,
    /// Of each head a matrix: rows of values, columns of keys.
    state: Vec<R>,
}

impl<'a, R: Real> Recurrent<'a, R> {
    pub fn new(c: &'a Rwkv7, numbers: &'a Numbers<'a>) -> Self {
        let zeros = |n| vec![R::of(0.0); n];
        let kept =
            |_| Kept { time: zeros(c.width), channel: zeros(c.width), state: zeros(c.width * c.head_width) };
        Self { c, numbers, layers: (0..c.layers).map(kept).collect() }
    }

    fn vector(&self, layer: usize, part: &str) -> std::rc::Rc<Vec<f32>> {
        self.numbers.get(&format!("blk.{layer}.{part}"))
    }

    fn linear(&self, x: &[R], layer: usize, part: &str) -> Vec<R> {
        product(&self.vector(layer, &format!("{part}.weight")), x)
    }

    fn norm(&self, x: &[R], name: &str) -> Vec<R> {
        let of = |part: &str| self.numbers.get(&format!("{name}.{part}"));
        layer_norm(x, &of("weight"), &of("bias"), self.c.eps)
    }

    /// x + (before - x) · mix.
    fn mixed(&self, x: &[R], before: &[R], layer: usize, mix: &str) -> Vec<R> {
        let mix = self.vector(layer, &format!("{mix}.weight"));
        let each = x.iter().zip(before).zip(mix.iter());
        each.map(|((x, b), m)| *x + (*b - *x) * R::weight(*m)).collect()
    }

    /// bias + second(between(first(x))).
    fn low_rank(&self, x: &[R], layer: usize, part: &str, between: fn(R) -> R) -> Vec<R> {
        let y = self.linear(x, layer, &format!("time_mix_{part}1"));
        let y: Vec<R> = y.into_iter().map(between).collect();
        let y = self.linear(&y, layer, &format!("time_mix_{part}2"));
        if part == "g" {
            return y;
        }
        let bias = self.vector(layer, &format!("time_mix_{part}0.weight"));
        y.into_iter().zip(bias.iter()).map(|(y, b)| R::weight(*b) + y).collect()
    }

    fn time_mixing(&mut self, x: &[R], layer: usize, first: &mut Option<Vec<R>>) -> Vec<R> {
        let (c, n) = (self.c, self.c.head_width);
        let before = std::mem::replace(&mut self.layers[layer].time, x.to_vec());
        let mix = |m: &str| self.mixed(x, &before, layer, &format!("time_mix_lerp_{m}"));
        let (xr, xw, xk, xv, xa, xg) = (mix("r"), mix("w"), mix("k"), mix("v"), mix("a"), mix("g"));
        let r = self.linear(&xr, layer, "time_mix_receptance");
        let w = self.low_rank(&xw, layer, "w", R::tanh);
        let k = self.linear(&xk, layer, "time_mix_key");
        let mut v = self.linear(&xv, layer, "time_mix_value");
        let a: Vec<R> = self.low_rank(&xa, layer, "a", |y| y).into_iter().map(sigmoid).collect();
        let g = self.low_rank(&xg, layer, "g", sigmoid);
        match first {
            None => *first = Some(v.clone()),
            Some(first) => {
                let share = self.low_rank(&xv, layer, "v", |y| y);
                let each = v.iter_mut().zip(first.iter()).zip(share);
                each.for_each(|((v, first), share)| *v = *v + (*first - *v) * sigmoid(share));
            }
        }
        let (k_k, k_a) =
            (self.vector(layer, "time_mix_k_k.weight"), self.vector(layer, "time_mix_k_a.weight"));
        let kk: Vec<R> = k.iter().zip(k_k.iter()).map(|(k, s)| *k * R::weight(*s)).collect();
        let kk: Vec<R> = kk.chunks_exact(n).flat_map(unit).collect();
        let one = R::of(1.0);
        let less = |((k, a), s): ((&R, &R), &f32)| *k * (one + (*a - one) * R::weight(*s));
        let k: Vec<R> = k.iter().zip(&a).zip(k_a.iter()).map(less).collect();
        let decay: Vec<R> = w.into_iter().map(|w| (-(R::of((-0.5f64).exp()) * sigmoid(w))).exp()).collect();

        let (gain, shift) =
            (self.vector(layer, "time_mix_ln.weight"), self.vector(layer, "time_mix_ln.bias"));
        let r_k = self.vector(layer, "time_mix_r_k.weight");
        let mut out = Vec::with_capacity(c.width);
        for h in 0..c.width / n {
            let at = h * n..(h + 1) * n;
            let (r, k, v, kk) = (&r[at.clone()], &k[at.clone()], &v[at.clone()], &kk[at.clone()]);
            let (decay, a) = (&decay[at.clone()], &a[at.clone()]);
            let state = &mut self.layers[layer].state[h * n * n..(h + 1) * n * n];
            let read: Vec<R> = state
                .chunks_exact_mut(n)
                .zip(v)
                .map(|(row, v)| {
                    // S = S·diag(decay) + S·(-kk)(kk·a)ᵀ + v·kᵀ.
                    let erased = sum(row.iter().zip(kk).map(|(s, kk)| *s * -*kk));
                    for j in 0..n {
                        row[j] = row[j] * decay[j] + erased * (kk[j] * a[j]) + *v * k[j];
                    }
                    sum(row.iter().zip(r).map(|(s, r)| *s * *r))
                })
                .collect();
            let read = layer_norm(&read, &gain[at.clone()], &shift[at.clone()], 64e-5);
            let bonus = sum((0..n).map(|j| r[j] * k[j] * R::weight(r_k[h * n + j])));
            out.extend(read.iter().zip(v).zip(&g[at]).map(|((y, v), g)| (*y + bonus * *v) * *g));
        }
        self.linear(&out, layer, "time_mix_output")
    }

    fn channel_mixing(&mut self, x: &[R], layer: usize) -> Vec<R> {
        let before = std::mem::replace(&mut self.layers[layer].channel, x.to_vec());
        let x = self.mixed(x, &before, layer, "channel_mix_lerp_k");
        let k = self.linear(&x, layer, "channel_mix_key");
        let zero = R::of(0.0);
        let k: Vec<R> = k.into_iter().map(|k| if k > zero { k * k } else { zero }).collect();
        self.linear(&k, layer, "channel_mix_value")
    }
}

/// x / max(‖x‖, 1e-12).
fn unit<R: Real>(x: &[R]) -> Vec<R> {
    let norm = sum(x.iter().map(|v| *v * *v)).sqrt();
    let least = R::of(1e-12);
    let norm = if norm < least { least } else { norm };
    x.iter().map(|v| *v / norm).collect()
}

impl<R: Real> Forward for Recurrent<'_, R> {
    fn token(&mut self, id: u32) -> Vec<f64> {
        let c = self.c;
        let table = self.numbers.get("token_embd.weight");
        let x: Vec<R> = table[id as usize * c.width..][..c.width].iter().map(|w| R::weight(*w)).collect();
        let mut x = self.norm(&x, "token_embd_norm");
        let mut first = None;
        for layer in 0..c.layers {
            let y = self.norm(&x, &format!("blk.{layer}.attn_norm"));
            x = plus(&x, &self.time_mixing(&y, layer, &mut first));
            let y = self.norm(&x, &format!("blk.{layer}.attn_norm_2"));
            x = plus(&x, &self.channel_mixing(&y, layer));
        }
        let x = self.norm(&x, "output_norm");
        product(&self.numbers.get("output.weight"), &x).into_iter().map(R::wide).collect()
    }
}

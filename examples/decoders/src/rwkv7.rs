//! RWKV-7 (Peng et al. 2025; BlinkDL/RWKV-LM, `RWKV-v7`): a recurrence in the place of attention.
//!
//! A layer keeps the last token's vector twice, and a matrix for each head: `shift.*` and `wkv.*`. They are
//! inputs, and what a call makes of them are outputs (`.after`), so that none is overwritten while it is read.

use tachylite::op::Attr;
use tachylite::ops::causal_conv::CausalConv;
use tachylite::{DType, Dim, Graph, ValueId};

use crate::config::Rwkv7;
use crate::graph::{Builder, Decoder, Shape, constant};
use crate::weights::Types;
use crate::{Error, Result};

/// The epsilon of the norm of heads: that of the norm of layers times the head's width.
const HEAD_EPS: f32 = 64e-5;
/// The least norm of a key.
const KEY_EPS: f32 = 1e-12;

/// Constants that all layers share.
struct Constants {
    /// Taps that take the token before: `[C, 2]`.
    before: ValueId,
    /// Ones and zeros, for a norm without a gain: `[N]`.
    ones: ValueId,
    zeros: ValueId,
}

/// What is between the two products of a low rank.
type Between = fn(&mut Graph, ValueId) -> tachylite::Result<ValueId>;

/// The graph.
pub(crate) fn decoder(c: &Rwkv7, types: &Types<'_>, shape: Shape) -> Result<Decoder> {
    if !c.width.is_multiple_of(c.head_width) {
        let (width, head) = (c.width, c.head_width);
        return Err(Error::new(format!("rwkv7: {width} channels are no whole number of heads of {head}")));
    }
    let mut b = Builder::new(types, shape)?;
    let taps: Vec<f32> = [1.0, 0.0].repeat(c.width);
    let n = c.head_width;
    let constants = Constants {
        before: constant(&mut b, "before", &[c.width, 2], &taps)?,
        ones: constant(&mut b, "ones", &[n], &vec![1.0; n])?,
        zeros: constant(&mut b, "zeros", &[n], &vec![0.0; n])?,
    };
    let (x, _) = b.embedding(c.vocabulary, c.width)?;
    let mut x = norm(&mut b, c, x, "token_embd_norm")?;
    let mut first = None;
    for layer in 0..c.layers {
        let mut l = Layer { b: &mut b, c, constants: &constants, layer };
        let y = norm(l.b, c, x, &format!("blk.{layer}.attn_norm"))?;
        let y = l.time_mix(y, &mut first)?;
        x = l.b.graph.add(y, x)?;
        let y = norm(l.b, c, x, &format!("blk.{layer}.attn_norm_2"))?;
        let y = l.channel_mix(y)?;
        x = l.b.graph.add(y, x)?;
    }
    let x = b.last(x, c.width)?;
    let x = norm(&mut b, c, x, "output_norm")?;
    let logits = b.linear(x, "output.weight", c.vocabulary, c.width)?;
    b.finish(logits)
}

fn norm(b: &mut Builder<'_>, c: &Rwkv7, x: ValueId, name: &str) -> Result<ValueId> {
    let w = b.vector(&format!("{name}.weight"), &[c.width])?;
    let bias = b.vector(&format!("{name}.bias"), &[c.width])?;
    Ok(b.graph.layer_norm(x, w, bias, c.eps)?)
}

struct Layer<'a, 'b> {
    b: &'a mut Builder<'b>,
    c: &'a Rwkv7,
    constants: &'a Constants,
    layer: usize,
}

impl Layer<'_, '_> {
    fn name(&self, part: &str) -> String {
        format!("blk.{}.{part}", self.layer)
    }

    fn vector(&mut self, part: &str) -> Result<ValueId> {
        let (name, width) = (self.name(part), self.c.width);
        self.b.vector(&name, &[width])
    }

    fn linear(&mut self, x: ValueId, part: &str, outputs: usize, inputs: usize) -> Result<ValueId> {
        let name = self.name(part);
        self.b.linear(x, &name, outputs, inputs)
    }

    /// What a call finds, and will be found by the next.
    fn carried(&mut self, part: &str, shape: &[usize]) -> Result<(ValueId, String)> {
        let name = format!("{part}.{}", self.layer);
        let dims: Vec<Dim> = shape.iter().map(|n| Dim::from(*n)).collect();
        let id = self.b.graph.input(&name, DType::F32, &dims)?;
        let after = format!("{name}.after");
        self.b.carried.push((name, after.clone()));
        Ok((id, after))
    }

    /// x + (the token before - x) · mix, for each of the mixes.
    fn shifted<const N: usize>(&mut self, x: ValueId, state: &str, mixes: [&str; N]) -> Result<[ValueId; N]> {
        let (last, after) = self.carried(state, &[self.b.batch, 1, self.c.width])?;
        let how = CausalConv { state: Some(last), ..CausalConv::default() };
        let (before, left) = self.b.graph.causal_conv(x, self.constants.before, how)?;
        self.b.graph.output(&after, left)?;
        let step = self.b.graph.sub(before, x)?;
        let mut out = [x; N];
        for (y, mix) in out.iter_mut().zip(mixes) {
            let mix = self.vector(mix)?;
            let part = self.b.graph.mul(step, mix)?;
            *y = self.b.graph.add(x, part)?;
        }
        Ok(out)
    }

    /// Two products of a low rank with something between them, and perhaps a bias.
    fn low_rank(&mut self, x: ValueId, part: &str, rank: usize, between: Between) -> Result<ValueId> {
        let width = self.c.width;
        let y = self.linear(x, &format!("time_mix_{part}1.weight"), rank, width)?;
        let y = between(&mut self.b.graph, y)?;
        let y = self.linear(y, &format!("time_mix_{part}2.weight"), width, rank)?;
        if part == "g" {
            return Ok(y);
        }
        let bias = self.vector(&format!("time_mix_{part}0.weight"))?;
        Ok(self.b.graph.add(y, bias)?)
    }

    fn time_mix(&mut self, x: ValueId, first: &mut Option<ValueId>) -> Result<ValueId> {
        let (c, [decay, rate, value, gate]) = (self.c, self.c.ranks);
        let (n, h) = (c.head_width, c.width / c.head_width);
        let mixes = ["r", "w", "k", "v", "a", "g"].map(|m| format!("time_mix_lerp_{m}.weight"));
        let [xr, xw, xk, xv, xa, xg] = self.shifted(x, "shift.time", mixes.each_ref().map(String::as_str))?;
        let same: Between = |_, y| Ok(y);

        let r = self.linear(xr, "time_mix_receptance.weight", c.width, c.width)?;
        let w = self.low_rank(xw, "w", decay, |g, y| g.tanh(y))?;
        let w = log_decay(&mut self.b.graph, w)?;
        let a = self.low_rank(xa, "a", rate, same)?;
        let a = self.b.graph.sigmoid(a)?;
        let g = self.low_rank(xg, "g", gate, |g, y| g.sigmoid(y))?;
        let mut v = self.linear(xv, "time_mix_value.weight", c.width, c.width)?;
        match *first {
            None => *first = Some(v),
            Some(first) => {
                let gate = self.low_rank(xv, "v", value, same)?;
                let gate = self.b.graph.sigmoid(gate)?;
                let step = self.b.graph.sub(first, v)?;
                let step = self.b.graph.mul(gate, step)?;
                v = self.b.graph.add(v, step)?;
            }
        }
        let k = self.linear(xk, "time_mix_key.weight", c.width, c.width)?;
        let heads = self.b.of_tokens(&[h, n]);
        let scale = self.vector("time_mix_k_k.weight")?;
        let kk = self.b.graph.mul(k, scale)?;
        let kk = self.b.graph.reshape(kk, &heads)?;
        let kk = self.b.graph.l2_normalize(kk, KEY_EPS)?;
        // k · (1 + (a - 1) · k_a)
        let less = self.b.graph.offset(a, Attr::F32(-1.0))?;
        let scale = self.vector("time_mix_k_a.weight")?;
        let less = self.b.graph.mul(less, scale)?;
        let less = self.b.graph.offset(less, Attr::F32(1.0))?;
        let k = self.b.graph.mul(k, less)?;

        let mut by_head = |x: ValueId| self.b.graph.reshape(x, &heads);
        let (r, w, k, v, a) = (by_head(r)?, by_head(w)?, by_head(k)?, by_head(v)?, by_head(a)?);
        let y = self.recall([r, w, k, v, kk, a])?;
        let y = self.read_out(y, [r, k, v])?;
        let g = self.b.graph.reshape(g, &heads)?;
        let y = self.b.graph.mul(y, g)?;
        let flat = self.b.of_tokens(&[c.width]);
        let y = self.b.graph.reshape(y, &flat)?;
        self.linear(y, "time_mix_output.weight", c.width, c.width)
    }

    /// The recurrence. It takes -key and key · rate; with both signs changed it is the same.
    fn recall(&mut self, [r, w, k, v, kk, a]: [ValueId; 6]) -> Result<ValueId> {
        let (n, h) = (self.c.head_width, self.c.width / self.c.head_width);
        let (state, after) = self.carried("wkv", &[self.b.batch, h, n, n])?;
        let back = self.b.graph.mul(kk, a)?;
        let back = self.b.graph.neg(back)?;
        let (y, left) = self.b.graph.wkv7(r, w, k, v, kk, back, state)?;
        self.b.graph.output(&after, left)?;
        Ok(y)
    }

    /// What was recalled, normalised head by head, and the bonus of the token itself.
    fn read_out(&mut self, y: ValueId, [r, k, v]: [ValueId; 3]) -> Result<ValueId> {
        let shape = [self.c.width / self.c.head_width, self.c.head_width];
        let (ones, zeros) = (self.constants.ones, self.constants.zeros);
        let y = self.b.graph.layer_norm(y, ones, zeros, HEAD_EPS)?;
        let mut by_head = |part: &str| {
            let name = self.name(part);
            self.b.vector(&name, &shape)
        };
        let gain = by_head("time_mix_ln.weight")?;
        let bias = by_head("time_mix_ln.bias")?;
        let bonus = by_head("time_mix_r_k.weight")?;
        let y = self.b.graph.mul(y, gain)?;
        let y = self.b.graph.add(y, bias)?;
        let same = self.b.graph.mul(r, k)?;
        let same = self.b.graph.mul(same, bonus)?;
        let same = self.b.graph.sum(same, &[3], true)?;
        let same = self.b.graph.mul(v, same)?;
        Ok(self.b.graph.add(y, same)?)
    }

    fn channel_mix(&mut self, x: ValueId) -> Result<ValueId> {
        let (width, inner) = (self.c.width, self.c.inner);
        let [xk] = self.shifted(x, "shift.channel", ["channel_mix_lerp_k.weight"])?;
        let k = self.linear(xk, "channel_mix_key.weight", inner, width)?;
        let k = self.b.graph.relu(k)?;
        let k = self.b.graph.square(k)?;
        self.linear(k, "channel_mix_value.weight", width, inner)
    }
}

/// -softplus(-w) - 1/2, of which `wkv7` takes exp(-exp(·)).
fn log_decay(g: &mut Graph, w: ValueId) -> Result<ValueId> {
    let w = g.neg(w)?;
    let w = g.softplus(w)?;
    let w = g.neg(w)?;
    Ok(g.offset(w, Attr::F32(-0.5))?)
}

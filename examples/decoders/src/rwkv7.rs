//! RWKV-7 (Peng et al. 2025; BlinkDL/RWKV-LM, `RWKV-v7`): a recurrence in the place of attention.
//!
//! A layer keeps the last token's vector twice, and a matrix for each head: `shift.time.*`, `shift.channel.*` and
//! `wkv.*`, states that a call changes where they lie. What reads the same tokens is one weight (`joined`):
//! receptance, key, value and the first halves of low ranks; the second halves; the mixes; all that there is of
//! each channel.

use tachylite::op::Unary;
use tachylite::ops::rwkv7::Rwkv7 as Mix;
use tachylite::{DType, Dim, ValueId};

use crate::config::Rwkv7;
use crate::graph::{Builder, Decoder, Shape};
use crate::joined::{Joined, Leaf, Part};
use crate::weights::Types;
use crate::{Error, Result};

/// The epsilon of the norm of heads: that of the norm of layers times the head's width.
const HEAD_EPS: f32 = 64e-5;
/// The least norm of a key.
const KEY_EPS: f32 = 1e-12;
/// Low ranks are filled up with zeros to a multiple of this, which slices of a product have.
const UNIT: usize = 32;
/// The mixes of the time mix, in the order of the product's slices.
const MIXES: [&str; 6] = ["r", "k", "v", "w", "a", "g"];

/// The graph.
pub(crate) fn decoder(c: &Rwkv7, types: &Types<'_>, shape: Shape) -> Result<Decoder> {
    let (width, head) = (c.width, c.head_width);
    if !width.is_multiple_of(head) {
        return Err(Error::new(format!("rwkv7: {width} channels are no whole number of heads of {head}")));
    }
    if !width.is_multiple_of(UNIT) {
        return Err(Error::new(format!("rwkv7: {width} channels are no multiple of {UNIT}")));
    }
    let mut b = Builder::new(types, shape)?;
    let (x, _) = b.embedding(c.vocabulary, c.width)?;
    let (gain, bias) = norm(&mut b, c, "token_embd_norm")?;
    let mut x = b.graph.layer_norm(x, gain, bias, c.eps)?;
    let mut first = None;
    for layer in 0..c.layers {
        let mut l = Layer { b: &mut b, c, layer };
        x = l.time_mix(x, &mut first)?;
        x = l.channel_mix(x)?;
    }
    let x = b.last(x, c.width)?;
    let (gain, bias) = norm(&mut b, c, "output_norm")?;
    let x = b.graph.layer_norm(x, gain, bias, c.eps)?;
    let logits = b.linear(x, "output.weight", c.vocabulary, c.width)?;
    b.finish(logits)
}

/// Gain and bias of a norm.
fn norm(b: &mut Builder<'_>, c: &Rwkv7, name: &str) -> Result<(ValueId, ValueId)> {
    let gain = b.vector(&format!("{name}.weight"), &[c.width])?;
    Ok((gain, b.vector(&format!("{name}.bias"), &[c.width])?))
}

/// Rows of a matrix that are multiplied with a slice of what was mixed.
struct Rows {
    leaf: Leaf,
    /// With those that fill it up.
    rows: usize,
    /// Which slice.
    slice: usize,
    /// What is taken of the products.
    then: Option<Unary>,
}

struct Layer<'a, 'b> {
    b: &'a mut Builder<'b>,
    c: &'a Rwkv7,
    layer: usize,
}

impl Layer<'_, '_> {
    fn name(&self, part: &str) -> String {
        format!("blk.{}.{part}", self.layer)
    }

    /// A vector of the model's, by the part of its name.
    fn vector(&self, part: &str, shape: &[usize]) -> Leaf {
        Leaf { name: self.name(part), dtype: DType::F32, shape: shape.to_vec() }
    }

    /// Vectors below one another, f32, in the shape that the graph wants of them; zeros for what there is not.
    fn vectors(&mut self, name: &str, shape: &[usize], leaves: Vec<Option<Leaf>>) -> Result<ValueId> {
        let width = self.c.width;
        let parts = leaves.into_iter().map(|leaf| Part { leaf, rows: 1, width }).collect();
        let name = self.name(name);
        self.b.joined(&name, Joined { dtype: DType::F32, shape: shape.to_vec(), width, parts })
    }

    /// x normalised, and mixed with the token before by each of the mixes: `[N, B, S, C]`.
    fn shifted(&mut self, x: ValueId, of: [&str; 3], mixes: &[&str]) -> Result<ValueId> {
        let [norm_name, mix_name, state] = of;
        let c = self.c;
        let (gain, bias) = norm(self.b, c, &self.name(norm_name))?;
        let leaves =
            mixes.iter().map(|mix| Some(self.vector(&format!("{mix_name}_{mix}.weight"), &[c.width])));
        let leaves = leaves.collect();
        let mix = self.vectors(&format!("{mix_name}.weight"), &[mixes.len(), c.width], leaves)?;
        let state = self.b.carried(&format!("{state}.{}", self.layer), &[self.b.batch, c.width])?;
        Ok(self.b.graph.token_shift(x, Some((gain, bias, c.eps)), mix, state)?.0)
    }

    fn rows(&self, part: &str, rows: usize, has: usize, slice: usize) -> Result<Rows> {
        let leaf = self.b.leaf(&self.name(&format!("time_mix_{part}.weight")), &[has, self.c.width])?;
        Ok(Rows { leaf, rows, slice, then: None })
    }

    /// Products with slices of what was mixed, by one weight, whose rows have one type: f32 where the model's have
    /// several.
    fn products(&mut self, z: ValueId, name: &str, all: Vec<Rows>) -> Result<ValueId> {
        let (Some(first), Some(last)) = (all.first(), all.last()) else {
            return Err(Error::new(format!("rwkv7: `{name}` has no parts")));
        };
        let (from, to, dtype) = (first.slice, last.slice + 1, one_type(&all).unwrap_or(DType::F32));
        let mut slices = vec![(0, None); to - from];
        for part in &all {
            let slice = &mut slices[part.slice - from];
            *slice = (slice.0 + part.rows, part.then);
        }
        let (width, name) = (self.c.width, self.name(name));
        let rows = all.iter().map(|part| part.rows).sum();
        let parts = all.into_iter().map(|r| Part { leaf: Some(r.leaf), rows: r.rows, width }).collect();
        let w = self.b.joined(&name, Joined { dtype, shape: vec![rows, width], width, parts })?;
        let z = if slices.len() == MIXES.len() { z } else { self.b.graph.slice(z, 0, from, to - from)? };
        Ok(self.b.graph.matmul_slices(z, w, &slices)?)
    }

    /// Projections `[B, S, 3·C]`, and what low ranks are between their halves, `[B, S, N·LOW]`.
    fn projections(&mut self, z: ValueId, low: &[Low], filled: usize) -> Result<[ValueId; 2]> {
        let c = self.c.width;
        let all = [("receptance", 0), ("key", 1), ("value", 2)];
        let all = all.into_iter().map(|(part, slice)| self.rows(part, c, c, slice));
        let mut all: Vec<Rows> = all.collect::<Result<_>>()?;
        for l in low {
            let rows = self.rows(&format!("{}1", l.part), filled, l.rank, l.slice)?;
            all.push(Rows { then: l.between, ..rows });
        }
        let low_width = low.len() * filled;
        if one_type(&all).is_some() {
            let all = self.products(z, "time_mix_in.weight", all)?;
            return Ok([
                self.b.graph.slice(all, 2, 0, 3 * c)?,
                self.b.graph.slice(all, 2, 3 * c, low_width)?,
            ]);
        }
        // A weight has one type: two products, where files keep low ranks finer than the rest.
        let low = all.split_off(3);
        Ok([self.products(z, "time_mix_rkv.weight", all)?, self.products(z, "time_mix_low.weight", low)?])
    }

    fn time_mix(&mut self, x: ValueId, first: &mut Option<ValueId>) -> Result<ValueId> {
        let (c, n) = (self.c, self.c.head_width);
        let h = c.width / n;
        let z = self.shifted(x, ["attn_norm", "time_mix_lerp", "shift.time"], &MIXES)?;
        let low = Low::all(c, first.is_some());
        let filled = c.ranks.iter().max().copied().unwrap_or(1).next_multiple_of(UNIT);
        let [rkv, between] = self.projections(z, &low, filled)?;
        let gates = self.second_halves(between, &low, filled)?;
        let heads = self.b.of_tokens(&[h, n]);
        let rkv_shape = self.b.of_tokens(&[3, h, n]);
        let rkv = self.b.graph.reshape(rkv, &rkv_shape)?;

        let of = |part: &str| Some(self.vector(&format!("time_mix_{part}"), &[c.width]));
        let by_head = |part: &str| Some(self.vector(&format!("time_mix_{part}"), &[h, n]));
        let leaves = vec![
            of("w0.weight"),
            of("a0.weight"),
            first.and_then(|_| of("v0.weight")),
            of("k_k.weight"),
            of("k_a.weight"),
            by_head("r_k.weight"),
            by_head("ln.weight"),
            by_head("ln.bias"),
        ];
        let vectors = self.vectors("time_mix_vectors.weight", &[leaves.len(), h, n], leaves)?;
        let state = self.b.carried(&format!("wkv.{}", self.layer), &[self.b.batch, h, n, n])?;
        let mix = Mix { rkv, gates, vectors, first: *first, eps: HEAD_EPS, norm_eps: KEY_EPS };
        let (y, _) = self.b.graph.rwkv7(mix, state)?;
        if first.is_none() {
            let v = self.b.graph.slice(rkv, 2, 2, 1)?;
            *first = Some(self.b.graph.reshape(v, &heads)?);
        }
        let flat = self.b.of_tokens(&[c.width]);
        let y = self.b.graph.reshape(y, &flat)?;
        let name = self.name("time_mix_output.weight");
        let y = self.b.linear(y, &name, c.width, c.width)?;
        Ok(self.b.graph.add(y, x)?)
    }

    /// The second halves of low ranks: `[N, B, S, H, D]`.
    fn second_halves(&mut self, between: ValueId, low: &[Low], filled: usize) -> Result<ValueId> {
        let (c, n) = (self.c.width, self.c.head_width);
        let leaf = |l: &Low| self.b.leaf(&self.name(&format!("time_mix_{}2.weight", l.part)), &[c, l.rank]);
        let leaves: Vec<Leaf> = low.iter().map(leaf).collect::<Result<_>>()?;
        // Several at once are multiplied by in f32 or f16.
        let dtype = if leaves.iter().all(|l| l.dtype == DType::F16) { DType::F16 } else { DType::F32 };
        let parts = leaves.into_iter().zip(low);
        let parts = parts.map(|(leaf, l)| Part { leaf: Some(leaf), rows: c, width: l.rank }).collect();
        let (name, count) = (self.name("time_mix_out.weight"), low.len());
        let w =
            self.b.joined(&name, Joined { dtype, shape: vec![count, c, filled], width: filled, parts })?;
        let rows = Dim::from(self.b.batch).times(&self.b.tokens);
        let y = self.b.graph.reshape(between, &[rows, count.into(), filled.into()])?;
        let y = self.b.graph.transpose(y, &[1, 0, 2])?;
        let y = self.b.graph.matmul(y, w)?;
        let shape = [vec![Dim::from(count)], self.b.of_tokens(&[c / n, n])].concat();
        Ok(self.b.graph.reshape(y, &shape)?)
    }

    fn channel_mix(&mut self, x: ValueId) -> Result<ValueId> {
        let (width, inner) = (self.c.width, self.c.inner);
        let z = self.shifted(x, ["attn_norm_2", "channel_mix_lerp", "shift.channel"], &["k"])?;
        let shape = self.b.of_tokens(&[width]);
        let z = self.b.graph.reshape(z, &shape)?;
        let (key, value) = (self.name("channel_mix_key.weight"), self.name("channel_mix_value.weight"));
        let k = self.b.linear(z, &key, inner, width)?;
        let k = self.b.graph.relu(k)?;
        let k = self.b.graph.square(k)?;
        let y = self.b.linear(k, &value, width, inner)?;
        Ok(self.b.graph.add(y, x)?)
    }
}

/// Two products of a low rank with something between them.
struct Low {
    /// What it is of.
    part: &'static str,
    rank: usize,
    /// Which slice of what was mixed it reads.
    slice: usize,
    between: Option<Unary>,
}

impl Low {
    /// In the order of the gates: those of the value, unless it is the first layer, the decay, the rate of
    /// learning and the result.
    fn all(c: &Rwkv7, value: bool) -> Vec<Self> {
        let [decay, rate, of_value, gate] = c.ranks;
        let low = |part, rank, slice, between| Self { part, rank, slice, between };
        let all = [
            low("v", of_value, 2, None),
            low("w", decay, 3, Some(Unary::Tanh)),
            low("a", rate, 4, None),
            low("g", gate, 5, Some(Unary::Sigmoid)),
        ];
        all.into_iter().skip(usize::from(!value)).collect()
    }
}

/// The type that all have.
fn one_type(all: &[Rows]) -> Option<DType> {
    let first = all.first()?.leaf.dtype;
    all.iter().all(|r| r.leaf.dtype == first).then_some(first)
}

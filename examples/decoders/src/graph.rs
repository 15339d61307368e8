//! What a decoder computes, as a graph. Which kernels do it is the planner's business.
//!
//! Each piece of a layer is a function of its own, so that an op that does more at once replaces it in one place.

use std::collections::BTreeMap;

use tachylite::graph::{Source, Value};
use tachylite::op::{Attr, Unary};
use tachylite::ops::append::At;
use tachylite::ops::arg::Tie;
use tachylite::ops::attention::{Attention, Reach};
use tachylite::ops::matmul_experts::Experts as Mixture;
use tachylite::ops::rope::Rope;
use tachylite::ops::sample::Sampling;
use tachylite::plan::prepare::Weights;
use tachylite::{DType, Dim, Graph, ValueId};

use crate::config::{Config, Experts, Rotation, Transformer};
use crate::joined::{Joined, Leaf};
use crate::weights::Types;
use crate::{Error, Result, rwkv7};

/// New tokens of a call, of each sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// One: decoding.
    One,
    /// As many as the call says, up to a bound: reading a prompt in chunks.
    UpTo(usize),
}

/// How the token that comes next is drawn: see [`Sampling`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// What logits are divided by.
    pub temperature: f32,
    /// So many of the likeliest are left; 0 leaves all.
    pub top_k: u32,
    /// Of those, the fewest that have as much of their mass.
    pub top_p: f32,
    /// What a token needs of the probability of the likeliest.
    pub min_p: f32,
    /// Draws of the same seed at the same position are the same.
    pub seed: u32,
}

/// What a graph is built for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Sequences.
    pub batch: usize,
    /// New tokens of a call.
    pub tokens: Tokens,
    /// The most positions of a sequence: rows of the cache.
    pub positions: usize,
    /// The type of the cache: f32 or f16.
    pub cache: DType,
    /// How `next` is drawn; the likeliest, unless given.
    pub draw: Option<Draw>,
}

/// A decoder as a graph, with what belongs to it.
///
/// Dims of the call: `at`, the position of the first new token of every sequence, and `S`, how many there are,
/// unless it is one. Inputs: `ids` u32 `[B, S]`; `lengths` u32 `[B]`, which must be at + S; `last` u32 `[B]`, the
/// rows b·S + S - 1, unless S is one. Outputs: `logits` f32 `[B, V]` of what follows the last token, and `next`
/// u32 `[B]`, the likeliest, or one that is drawn. States keep what calls leave for the next, changed where they
/// lie: caches, and those in `carried`. An RWKV-7 has no use for `lengths`, and for `at` only where it draws.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// What is computed.
    pub graph: Graph,
    /// Weights that no file has: the frequencies of rotary embeddings, and constants.
    pub own: Weights,
    /// Weights that are put together of several of the model's, by name.
    pub joined: BTreeMap<String, Joined>,
    /// Names of states that a token changes all of, so that there is no way back but to a copy.
    pub carried: Vec<String>,
}

impl Decoder {
    /// The weights that it needs of a model, each once.
    pub fn leaves(&self) -> Vec<Leaf> {
        let shape = |v: &Value| v.shape.iter().map(|d| d.constant().unwrap_or(0) as usize).collect();
        let leaf = |v: &Value| Leaf { name: v.name.clone(), dtype: v.dtype, shape: shape(v) };
        let own = |name: &String| self.own.contains_key(name) || self.joined.contains_key(name);
        let weights = self.graph.values().iter().filter(|v| v.source == Source::Weight && !own(&v.name));
        let parts = self.joined.values().flat_map(|joined| &joined.parts);
        weights.map(leaf).chain(parts.filter_map(|part| part.leaf.clone())).collect()
    }
}

/// The graph of a model.
///
/// # Errors
/// If a weight has no type, or Tachylite refuses the graph.
pub fn decoder(config: &Config, types: &Types<'_>, shape: Shape) -> Result<Decoder> {
    match config {
        Config::Transformer(t) => transformer(t, types, shape),
        Config::Rwkv7(r) => rwkv7::decoder(r, types, shape),
    }
}

/// A graph that grows, with what its layers have in common.
pub(crate) struct Builder<'a> {
    pub(crate) graph: Graph,
    types: &'a Types<'a>,
    pub(crate) own: Weights,
    joined: BTreeMap<String, Joined>,
    carried: Vec<String>,
    pub(crate) batch: usize,
    /// New tokens.
    pub(crate) tokens: Dim,
    at: Option<Dim>,
    shape: Shape,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(types: &'a Types<'a>, shape: Shape) -> Result<Self> {
        let mut graph = Graph::new();
        let tokens = match shape.tokens {
            Tokens::One => Dim::ONE,
            Tokens::UpTo(most) => graph.dim("S", most as u64)?,
        };
        let (own, joined, carried) = (Weights::new(), BTreeMap::new(), Vec::new());
        Ok(Self { graph, types, own, joined, carried, batch: shape.batch, tokens, at: None, shape })
    }

    /// `[B, S, …]`.
    pub(crate) fn of_tokens(&self, rest: &[usize]) -> Vec<Dim> {
        let rest = rest.iter().map(|n| Dim::from(*n));
        [Dim::from(self.batch), self.tokens.clone()].into_iter().chain(rest).collect()
    }

    /// A weight that is multiplied with: of whatever type it has.
    pub(crate) fn matrix(&mut self, name: &str, shape: &[usize]) -> Result<ValueId> {
        Ok(self.graph.weight(name, self.types.of(name, shape)?, shape)?)
    }

    /// A weight that is added or multiplied by: always f32.
    pub(crate) fn vector(&mut self, name: &str, shape: &[usize]) -> Result<ValueId> {
        Ok(self.graph.weight(name, DType::F32, shape)?)
    }

    /// A matrix of the model's, of whatever type it has.
    pub(crate) fn leaf(&self, name: &str, shape: &[usize]) -> Result<Leaf> {
        let dtype = self.types.of(name, shape)?;
        Ok(Leaf { name: name.to_owned(), dtype, shape: shape.to_vec() })
    }

    /// A weight that is put together of the model's.
    pub(crate) fn joined(&mut self, name: &str, joined: Joined) -> Result<ValueId> {
        let id = self.graph.weight(name, joined.dtype, &joined.shape)?;
        self.joined.insert(name.to_owned(), joined);
        Ok(id)
    }

    /// What a call finds, and leaves for the next, f32.
    pub(crate) fn carried(&mut self, name: &str, shape: &[usize]) -> Result<ValueId> {
        self.carried.push(name.to_owned());
        let shape: Vec<Dim> = shape.iter().map(|n| Dim::from(*n)).collect();
        Ok(self.graph.state(name, DType::F32, &shape)?)
    }

    /// x · wᵀ.
    pub(crate) fn linear(
        &mut self,
        x: ValueId,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<ValueId> {
        let w = self.matrix(name, &[outputs, inputs])?;
        Ok(self.graph.matmul(x, w)?)
    }

    /// The vectors of a call's tokens, f32, and their table.
    pub(crate) fn embedding(&mut self, vocabulary: usize, width: usize) -> Result<(ValueId, ValueId)> {
        let shape = self.of_tokens(&[]);
        let ids = self.graph.input("ids", DType::U32, &shape)?;
        let table = self.matrix("token_embd.weight", &[vocabulary, width])?;
        let x = self.graph.embed(&[(ids, table)])?;
        Ok((self.graph.cast(x, DType::F32)?, table))
    }

    /// Of the last new token of each sequence: `[B, C]`.
    pub(crate) fn last(&mut self, x: ValueId, width: usize) -> Result<ValueId> {
        let rows = Dim::from(self.batch).times(&self.tokens);
        let x = self.graph.reshape(x, &[rows, width.into()])?;
        if self.shape.tokens == Tokens::One {
            return Ok(x);
        }
        let last = self.graph.input("last", DType::U32, &[self.batch.into()])?;
        Ok(self.graph.gather(x, last, 0)?)
    }

    /// The position of a call's first new token.
    pub(crate) fn at(&mut self) -> Result<Dim> {
        if self.at.is_none() {
            self.at = Some(self.graph.dim("at", self.shape.positions as u64)?);
        }
        Ok(self.at.clone().unwrap_or(Dim::ONE))
    }

    /// The token that comes next: the likeliest, or one that is drawn.
    fn next_token(&mut self, logits: ValueId) -> Result<ValueId> {
        let Some(draw) = self.shape.draw else { return Ok(self.graph.arg_max(logits, 1, Tie::First)?) };
        let how = Sampling {
            temperature: Attr::F32(draw.temperature),
            top_k: u64::from(draw.top_k).into(),
            top_p: Attr::F32(draw.top_p),
            min_p: Attr::F32(draw.min_p),
            seed: u64::from(draw.seed).into(),
            step: self.at()?,
            ..Sampling::default()
        };
        Ok(self.graph.sample(logits, how)?)
    }

    /// Returns logits and the token that comes next.
    pub(crate) fn finish(mut self, logits: ValueId) -> Result<Decoder> {
        self.graph.output("logits", logits)?;
        let next = self.next_token(logits)?;
        self.graph.output("next", next)?;
        Ok(Decoder { graph: self.graph, own: self.own, joined: self.joined, carried: self.carried })
    }
}

fn transformer(c: &Transformer, types: &Types<'_>, shape: Shape) -> Result<Decoder> {
    let mut b = Builder::new(types, shape)?;
    let at = b.at()?;
    let lengths = b.graph.input("lengths", DType::U32, &[shape.batch.into()])?;
    let (mut x, table) = b.embedding(c.vocabulary, c.width)?;
    if let Some(scale) = c.embedding_scale {
        x = b.graph.scale(x, Attr::F32(scale))?;
    }
    let full = b.turns("rope.turns", &c.rotation, c.head_width)?;
    let near = match &c.window {
        Some(w) => Some(b.turns("rope.window_turns", &w.rotation, c.head_width)?),
        None => None,
    };
    for layer in 0..c.layers {
        let window = c.window.as_ref().filter(|w| !(layer + 1).is_multiple_of(w.full_every));
        let turns = if window.is_some() { near.as_ref().unwrap_or(&full) } else { &full };
        let how = Attention {
            lengths: Some(lengths),
            causal: true,
            reach: Reach::Lengths,
            left: window.map(|w| w.width.saturating_sub(1) as u32),
            softcap: c.score_cap,
            scale: c.query_scale,
            ..Attention::default()
        };
        x = b.layer(c, layer, x, &Turning { turns, at: &at, how })?;
    }
    let x = b.last(x, c.width)?;
    let x = b.norm(c, x, "output_norm.weight", c.width)?;
    let mut logits =
        if c.tied { b.graph.matmul(x, table)? } else { b.linear(x, "output.weight", c.vocabulary, c.width)? };
    if let Some(cap) = c.logit_cap {
        logits = b.graph.scale(logits, Attr::F32(1.0 / cap))?;
        logits = b.graph.tanh(logits)?;
        logits = b.graph.scale(logits, Attr::F32(cap))?;
    }
    b.finish(logits)
}

/// What positions mean to a layer.
struct Turning<'a> {
    turns: &'a (ValueId, Rope),
    at: &'a Dim,
    how: Attention,
}

/// Projections of one layer.
struct Heads {
    q: ValueId,
    k: ValueId,
    v: ValueId,
}

impl Builder<'_> {
    /// The frequencies of a rotation, as a weight that comes along.
    fn turns(&mut self, name: &str, rotation: &Rotation, width: usize) -> Result<(ValueId, Rope)> {
        let rope = rotation.rope(width);
        self.own.insert(name.to_owned(), rope.tensor()?);
        Ok((rope.weight(&mut self.graph, name)?, rope))
    }

    fn norm(&mut self, c: &Transformer, x: ValueId, name: &str, width: usize) -> Result<ValueId> {
        let gain = self.vector(name, &[width])?;
        Ok(self.graph.rms_norm(x, gain, c.eps)?)
    }

    fn layer(&mut self, c: &Transformer, layer: usize, x: ValueId, how: &Turning<'_>) -> Result<ValueId> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let y = self.norm(c, x, &name("attn_norm"), c.width)?;
        let mut y = self.attend(c, layer, y, how)?;
        if c.sandwich {
            y = self.norm(c, y, &name("post_attention_norm"), c.width)?;
        }
        let x = self.graph.add(y, x)?;
        let y = self.norm(c, x, &name("ffn_norm"), c.width)?;
        let mut y = match &c.experts {
            Some(experts) => self.experts(c, experts, layer, y)?,
            None => self.feed_forward(c, layer, y)?,
        };
        if c.sandwich {
            y = self.norm(c, y, &name("post_ffw_norm"), c.width)?;
        }
        Ok(self.graph.add(y, x)?)
    }

    fn attend(&mut self, c: &Transformer, layer: usize, x: ValueId, how: &Turning<'_>) -> Result<ValueId> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let project = |b: &mut Self, part: &str, heads: usize| -> Result<ValueId> {
            let y = b.linear(x, &name(part), heads * c.head_width, c.width)?;
            let shape = b.of_tokens(&[heads, c.head_width]);
            Ok(b.graph.reshape(y, &shape)?)
        };
        let mut q = project(self, "attn_q", c.heads)?;
        let mut k = project(self, "attn_k", c.kv_heads)?;
        let v = project(self, "attn_v", c.kv_heads)?;
        if c.head_norms {
            q = self.norm(c, q, &name("attn_q_norm"), c.head_width)?;
            k = self.norm(c, k, &name("attn_k_norm"), c.head_width)?;
        }
        let Heads { q, k, v } = self.turn_and_keep(c, layer, Heads { q, k, v }, how)?;
        let y = self.graph.attention(q, k, v, how.how)?;
        let flat = self.of_tokens(&[c.heads * c.head_width]);
        let y = self.graph.reshape(y, &flat)?;
        self.linear(y, &name("attn_output"), c.width, c.heads * c.head_width)
    }

    /// Queries and keys turned to their positions, keys and values put into the caches: queries, and the caches.
    fn turn_and_keep(
        &mut self,
        c: &Transformer,
        layer: usize,
        Heads { q, k, v }: Heads,
        how: &Turning<'_>,
    ) -> Result<Heads> {
        let (turns, rope) = how.turns;
        let cache = [self.batch, self.shape.positions, c.kv_heads, c.head_width].map(Dim::from);
        let keys = self.graph.state(&format!("keys.{layer}"), self.shape.cache, &cache)?;
        let values = self.graph.state(&format!("values.{layer}"), self.shape.cache, &cache)?;
        let at = At { start: how.at.clone(), ..At::default() };
        let (q, k, v) = self.graph.rope_append((q, k, v), (keys, values), (*turns, rope), at)?;
        Ok(Heads { q, k, v })
    }

    /// (act(x · gateᵀ) · (x · upᵀ)) · downᵀ.
    fn feed_forward(&mut self, c: &Transformer, layer: usize, x: ValueId) -> Result<ValueId> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let gate = self.linear(x, &name("ffn_gate"), c.inner, c.width)?;
        let gate = match c.gate {
            Unary::Silu => self.graph.silu(gate)?,
            Unary::GeluTanh => self.graph.gelu_tanh(gate)?,
            other => return Err(Error::new(format!("{other:?} is not known to gate"))),
        };
        let up = self.linear(x, &name("ffn_up"), c.inner, c.width)?;
        let y = self.graph.mul(gate, up)?;
        self.linear(y, &name("ffn_down"), c.width, c.inner)
    }

    /// A mixture of those experts that a router's scores are largest of.
    fn experts(&mut self, c: &Transformer, e: &Experts, layer: usize, x: ValueId) -> Result<ValueId> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let scores = self.linear(x, &name("ffn_gate_inp"), e.count, c.width)?;
        // The softmax of the largest is the softmax of all, made to sum to 1.
        let (weights, ids) = if e.normalised {
            let (largest, ids) = self.graph.top_k(scores, e.used)?;
            (self.graph.softmax(largest, 2)?, ids)
        } else {
            let all = self.graph.softmax(scores, 2)?;
            self.graph.top_k(all, e.used)?
        };
        let gate = self.matrix(&name("ffn_gate_exps"), &[e.count, e.inner, c.width])?;
        let up = self.matrix(&name("ffn_up_exps"), &[e.count, e.inner, c.width])?;
        let down = self.matrix(&name("ffn_down_exps"), &[e.count, c.width, e.inner])?;
        Ok(self.graph.experts(x, ids, weights, Mixture { gate, up, down, act: c.gate })?)
    }
}

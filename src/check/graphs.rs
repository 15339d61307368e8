//! Graphs of several nodes, for what single kernels cannot show: fusion, splitting, views, siblings,
//! buffers that are used again, and calls smaller than their bounds.

use super::{Case, Inputs, Subject};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::op::Attr;
use crate::ops::attention::Attention;
use crate::ops::sample::Sampling;
use crate::rng::Rng;

mod caches;
mod cut;
mod experts;
mod few_rows;
mod layouts;

/// A graph to check, with the calls it is run with.
#[derive(Debug)]
pub struct GraphCase {
    /// `graph.<what it is about>`.
    pub name: &'static str,
    /// Builds it, with activations of a type.
    pub build: fn(&mut Graph, DType) -> Result<()>,
    /// The scalars of each call, by name.
    pub calls: &'static [&'static [(&'static str, f64)]],
    /// Values of an input that cannot be any numbers, by name and shape.
    pub fill: fn(&str, &[usize], &mut Rng) -> Option<Vec<f64>>,
}

impl GraphCase {
    /// The most bytes of a weight's buffer that it is planned with, if fewer than devices bind.
    pub fn weight_bytes(&self) -> Option<u64> {
        cut::ALL.iter().any(|g| g.name == self.name).then_some(cut::WEIGHT_BYTES)
    }
}

/// Graphs of a few kinds of texts.
pub static ALL: &[GraphCase] = &[
    GraphCase {
        name: "graph.encoder_layer",
        build: encoder_layer,
        calls: &[
            &[("B", 4.0), ("S", 24.0)],
            &[("B", 3.0), ("S", 7.0)],
            &[("B", 1.0), ("S", 1.0)],
            &[("B", 0.0), ("S", 5.0)],
            &[("B", 2.0), ("S", 0.0)],
        ],
        fill: ids_and_lengths,
    },
    GraphCase { name: "graph.long_chain", build: long_chain, calls: ROWS, fill: no_fill },
    GraphCase { name: "graph.shared_operands", build: shared_operands, calls: ROWS, fill: no_fill },
    GraphCase { name: "graph.views_and_copies", build: views_and_copies, calls: ROWS, fill: no_fill },
    GraphCase {
        name: "graph.packed_qkv",
        build: packed_qkv,
        calls: &[&[("B", 3.0), ("S", 40.0)], &[("B", 2.0), ("S", 17.0)], &[("B", 1.0), ("S", 1.0)]],
        fill: no_fill,
    },
    GraphCase { name: "graph.siblings", build: siblings, calls: ROWS, fill: no_fill },
    GraphCase {
        name: "graph.call_scalars",
        build: call_scalars,
        calls: &[
            &[("R", 9.0), ("alpha", 0.5), ("beta", -2.0)],
            &[("R", 4.0), ("alpha", -1.25), ("beta", 0.0)],
        ],
        fill: no_fill,
    },
    GraphCase {
        name: "graph.sampled",
        build: sampled,
        calls: &[
            &[("R", 3.0), ("temperature", 0.7), ("top_k", 0.0), ("top_p", 0.875), ("step", 4.0)],
            &[("R", 7.0), ("temperature", 1.3), ("top_k", 20.0), ("top_p", 1.0), ("step", 4_294_967_295.0)],
            &[("R", 2.0), ("temperature", 0.0), ("top_k", 60.0), ("top_p", 0.5), ("step", 0.0)],
        ],
        fill: no_fill,
    },
    GraphCase { name: "graph.reused_buffers", build: reused_buffers, calls: ROWS, fill: no_fill },
    GraphCase {
        name: "graph.reductions",
        build: reductions,
        calls: &[&[("B", 3.0), ("S", 9.0)], &[("B", 1.0), ("S", 4.0)], &[("B", 2.0), ("S", 0.0)]],
        fill: no_fill,
    },
];

/// Calls of graphs over up to 33 rows.
const ROWS: &[&[(&str, f64)]] = &[&[("R", 33.0)], &[("R", 5.0)], &[("R", 1.0)], &[("R", 0.0)]];

/// Every case of every graph.
pub(super) fn cases(all: &mut Vec<Case>) {
    let few_texts =
        ALL.iter().chain(layouts::ALL).chain(caches::ALL).chain(few_rows::ALL).map(|graph| (graph, false));
    // Weights of many types are a text each, and drivers compile those longer than they run.
    let many_texts = cut::ALL.iter().chain(experts::ALL).map(|graph| (graph, true));
    for (graph, many_texts) in few_texts.chain(many_texts) {
        for dtype in [DType::F32, DType::F16] {
            for call in 0..graph.calls.len() {
                for inputs in Inputs::ALL {
                    let short = if many_texts { call == 0 && dtype == DType::F32 } else { call < 2 };
                    let quick = short && inputs == Inputs::Random;
                    all.push(Case {
                        subject: Subject::Graph { graph, dtype, call },
                        inputs,
                        aliased: false,
                        quick,
                    });
                }
            }
        }
    }
}

fn no_fill(_: &str, _: &[usize], _: &mut Rng) -> Option<Vec<f64>> {
    None
}

/// Rows of the word and position tables of [`encoder_layer`].
const VOCABULARY: usize = 50;

/// Lengths may pass the longest sequence, which then is the length.
fn ids_and_lengths(name: &str, shape: &[usize], rng: &mut Rng) -> Option<Vec<f64>> {
    let below = match name {
        "ids" | "positions" => VOCABULARY as u64,
        "lengths" => 26,
        _ => return None,
    };
    Some((0..shape.iter().product::<usize>()).map(|_| rng.below(below) as f64).collect())
}

/// x · wᵀ + b with new weights.
fn linear(g: &mut Graph, x: ValueId, name: &str, dtype: DType, n: usize, k: usize) -> Result<ValueId> {
    let w = g.weight(&format!("{name}.w"), dtype, &[n, k])?;
    let b = g.weight(&format!("{name}.b"), DType::F32, &[n])?;
    let y = g.matmul(x, w)?;
    g.add(y, b)
}

fn norm(g: &mut Graph, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
    let w = g.weight(&format!("{name}.w"), DType::F32, &[c])?;
    let b = g.weight(&format!("{name}.b"), DType::F32, &[c])?;
    g.layer_norm(x, w, b, 1e-5)
}

/// A transformer encoder of one layer over batches of up to 4 sequences of up to 24 tokens.
fn encoder_layer(g: &mut Graph, dtype: DType) -> Result<()> {
    const C: usize = 48;
    let (b, s) = (g.dim("B", 4)?, g.dim("S", 24)?);
    let tokens = [b.clone(), s.clone()];
    let ids = g.input("ids", DType::U32, &tokens)?;
    let positions = g.input("positions", DType::U32, &tokens)?;
    let lengths = g.input("lengths", DType::U32, std::slice::from_ref(&b))?;
    let words = g.weight("words", dtype, &[VOCABULARY, C])?;
    let places = g.weight("places", dtype, &[VOCABULARY, C])?;
    let x = g.embed(&[(ids, words), (positions, places)])?;
    let x = norm(g, x, "norm0", C)?;
    let heads = [b.clone(), s.clone(), 3.into(), (C / 3).into()];
    let [q, k, v] = ["q", "k", "v"].map(|name| linear(g, x, name, dtype, C, C));
    let (q, k, v) = (g.reshape(q?, &heads)?, g.reshape(k?, &heads)?, g.reshape(v?, &heads)?);
    let o = g.attention(q, k, v, Attention { lengths: Some(lengths), ..Default::default() })?;
    let o = g.reshape(o, &[b, s, C.into()])?;
    let o = linear(g, o, "o", dtype, C, C)?;
    let x1 = g.add(o, x)?;
    let x1 = norm(g, x1, "norm1", C)?;
    let h = linear(g, x1, "up", dtype, 2 * C, C)?;
    let h = g.gelu(h)?;
    let h = linear(g, h, "down", dtype, C, 2 * C)?;
    let x2 = g.add(h, x1)?;
    let x2 = norm(g, x2, "norm2", C)?;
    let pooled = g.mean_pool(x2, lengths)?;
    let y = g.l2_normalize(pooled, 1e-12)?;
    g.output("y", y)
}

/// More operands than any device lets one kernel bind.
fn long_chain(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let x = g.input("x", dtype, &[r.clone(), 20.into()])?;
    let mut y = linear(g, x, "w", dtype, 24, 20)?;
    for i in 0..40 {
        let full = [r.clone(), 24.into()];
        let other = g.input(&format!("t{i}"), dtype, if i % 3 == 0 { &full[1..] } else { &full })?;
        y = match i % 4 {
            0 => g.add(y, other)?,
            1 => g.mul(other, y)?,
            2 => g.sub(other, y)?,
            _ => g.add(other, y)?,
        };
        if i % 5 == 4 {
            y = g.tanh(y)?;
        }
    }
    g.output("y", y)
}

/// Values with several readers, the same operand twice, results that are read again, and an input
/// that is an output.
fn shared_operands(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let x = g.input("x", dtype, &[r, 20.into()])?;
    let w = g.weight("w", dtype, &[20, 20])?;
    let y = g.matmul(x, w)?;
    let twice = g.add(y, y)?;
    let a = g.mul(twice, x)?;
    let b = g.sub(x, y)?;
    let z = g.matmul(b, w)?;
    let z = g.add(z, a)?;
    let s = g.sigmoid(b)?;
    for (name, value) in [("x_again", x), ("y", y), ("z", z), ("s", s)] {
        g.output(name, value)?;
    }
    Ok(())
}

/// Slices that strides can say and slices that they cannot, of one another, read and returned.
fn views_and_copies(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let x = g.input("x", dtype, &[r.clone(), 40.into()])?;
    let y = g.relu(x)?;
    let aligned = g.slice(y, 1, 8, 24)?;
    let odd = g.slice(y, 1, 3, 24)?;
    let inner = g.slice(aligned, 1, 8, 8)?;
    let split = g.reshape(aligned, &[r.clone(), 3.into(), 8.into()])?;
    let middle = g.slice(split, 1, 1, 1)?;
    let middle = g.reshape(middle, &[r.clone(), 8.into()])?;
    let sum = g.add(inner, middle)?;
    let product = linear(g, odd, "w", dtype, 8, 24)?;
    let product = g.mul(product, sum)?;
    let flat = g.reshape(product, &[r.times(&Dim::from(2)), 4.into()])?;
    let flat = g.silu(flat)?;
    for (name, value) in [("aligned", aligned), ("odd", odd), ("split", split), ("flat", flat)] {
        g.output(name, value)?;
    }
    Ok(())
}

/// Causal attention with fewer key/value heads, read in place from one packed product.
fn packed_qkv(g: &mut Graph, dtype: DType) -> Result<()> {
    const D: usize = 16;
    let (b, s) = (g.dim("B", 3)?, g.dim("S", 40)?);
    let x = g.input("x", dtype, &[b.clone(), s.clone(), 24.into()])?;
    let packed = linear(g, x, "qkv", dtype, 8 * D, 24)?;
    let mut part = |start: usize, heads: usize| {
        let part = g.slice(packed, 2, start * D, heads * D)?;
        g.reshape(part, &[b.clone(), s.clone(), heads.into(), D.into()])
    };
    let (q, k, v) = (part(0, 4)?, part(4, 2)?, part(6, 2)?);
    let o = g.attention(q, k, v, Attention { causal: true, ..Default::default() })?;
    let o = g.reshape(o, &[b, s, (4 * D).into()])?;
    let y = linear(g, o, "o", dtype, 24, 4 * D)?;
    let y = g.add(x, y)?;
    g.output("y", y)
}

/// Products of one input with weights that may become one, each with its own ending.
fn siblings(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let x = g.input("x", dtype, &[r, 64.into()])?;
    let gate = g.weight("gate", DType::Q8_0, &[24, 64])?;
    let up = g.weight("up", DType::Q8_0, &[24, 64])?;
    let narrow = g.weight("narrow", DType::Q8_0, &[7, 64])?;
    let plain = g.weight("plain", DType::F16, &[24, 64])?;
    let gate = g.matmul(x, gate)?;
    let gate = g.silu(gate)?;
    let up = g.matmul(x, up)?;
    let both = g.mul(gate, up)?;
    let narrow = g.matmul(x, narrow)?;
    let plain = g.matmul(x, plain)?;
    let plain = g.add(plain, both)?;
    for (name, value) in [("both", both), ("narrow", narrow), ("plain", plain)] {
        g.output(name, value)?;
    }
    Ok(())
}

/// Factors that each call gives.
fn call_scalars(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 9)?;
    let (alpha, beta) = (g.scalar("alpha")?, g.scalar("beta")?);
    let x = g.input("x", dtype, &[r, 12.into()])?;
    let y = linear(g, x, "w", dtype, 12, 12)?;
    let y = g.scale(y, alpha)?;
    let y = g.gelu_tanh(y)?;
    let y = g.scale(y, beta)?;
    let y = g.add(y, x)?;
    let y = g.scale(y, Attr::F32(0.25))?;
    g.output("y", y)
}

/// Some of the logits of a small vocabulary, behind which others lie, and a token drawn as each call says.
fn sampled(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 7)?;
    let x = g.input("x", dtype, &[r, 12.into()])?;
    let logits = linear(g, x, "w", dtype, 64, 12)?;
    let logits = g.slice(logits, 1, 0, 50)?;
    let how = Sampling {
        temperature: g.scalar("temperature")?,
        top_k: g.dim("top_k", 100)?,
        top_p: g.scalar("top_p")?,
        seed: 11.into(),
        step: g.dim("step", u64::from(u32::MAX))?,
        ..Sampling::default()
    };
    let y = g.sample(logits, how)?;
    g.output("y", y)
}

/// A deep chain with long-lived residuals, in which buffers are used again and again.
fn reused_buffers(g: &mut Graph, dtype: DType) -> Result<()> {
    const C: usize = 20;
    let r = g.dim("R", 33)?;
    let x = g.input("x", dtype, &[r, C.into()])?;
    let first = linear(g, x, "in", dtype, C, C)?;
    let mut y = first;
    for i in 0..3 {
        let n = norm(g, y, &format!("norm{i}"), C)?;
        let wide = linear(g, n, &format!("up{i}"), dtype, 3 * C, C)?;
        let wide = g.relu(wide)?;
        let narrow = linear(g, wide, &format!("down{i}"), dtype, C, 3 * C)?;
        y = g.add(y, narrow)?;
    }
    let y = g.sub(y, first)?;
    g.output("y", y)
}

/// Reductions along axes that lie apart, together, first and last, of sizes that calls give, read by
/// what broadcasts them; and softmax along an axis that is not the last.
fn reductions(g: &mut Graph, dtype: DType) -> Result<()> {
    let (b, s) = (g.dim("B", 3)?, g.dim("S", 9)?);
    let x = g.input("x", dtype, &[b.clone(), s.clone(), 3.into(), 5.into()])?;
    let wide = g.input("wide", dtype, &[b, s, 2.into(), 16.into()])?;
    let apart = g.sum(x, &[2, 0], false)?;
    let together = g.mean(x, &[1, 2], true)?;
    let centred = g.sub(x, together)?;
    let largest = g.max(centred, &[3], true)?;
    let shifted = g.sub(centred, largest)?;
    let along = g.softmax(shifted, 2)?;
    let last = g.mean(wide, &[2, 3], false)?;
    let all = g.min(x, &[0, 1, 2, 3], false)?;
    let one = g.slice(x, 3, 2, 1)?;
    let one = g.mean(one, &[3], false)?;
    for (name, value) in [("apart", apart), ("along", along), ("last", last), ("all", all), ("one", one)] {
        g.output(name, value)?;
    }
    Ok(())
}

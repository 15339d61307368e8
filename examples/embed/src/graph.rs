//! What the encoder computes, as a graph: BERT with its layer norms after the residuals, then the
//! mean over a line's tokens, at length one. Which kernels do it is the planner's business.

use tachylite::{DType, Dim, Graph, ValueId};

use crate::model::{self, EPS, HEADS, HIDDEN, INNER, LAYERS};
use crate::weights::{Types, scale_name};
use crate::{Error, Result};
use tachylite::ops::attention::Attention;

/// The graph for batches of at most `lines` lines of at most `tokens` tokens.
///
/// Dims `B` lines and `S` tokens of the longest. Inputs `ids`, `positions`, `types` [B, S] and
/// `lengths[B]`, all u32; what lies past a line's length is not looked at. Output `embedding`
/// [B, 384]. Weights have the names they were published under, and the given types.
///
/// # Errors
/// If a weight has no type, or Tachylite refuses the graph.
pub fn encoder(lines: usize, tokens: usize, types: &Types) -> Result<Graph> {
    build(lines, tokens, types, false)
}

/// The output of [`encoder`].
pub const OUTPUT: &str = "embedding";

/// [`encoder`] for lines that are all of one length, with an output `[K, K]` for the second moments `Σ x xᵀ` of
/// what each matrix is multiplied with, over all tokens; [`input_of`] says its name.
///
/// # Errors
/// As [`encoder`].
pub fn moments(lines: usize, tokens: usize, types: &Types) -> Result<Graph> {
    build(lines, tokens, types, true)
}

/// Which of the outputs of [`moments`] is of the input of a weight: query, key and value have one together.
pub fn input_of(weight: &str) -> &str {
    let linear = weight.strip_suffix(".weight").unwrap_or(weight);
    let joint =
        ["query", "key", "value"].iter().find_map(|part| linear.strip_suffix(part)?.strip_suffix('.'));
    joint.unwrap_or(linear)
}

fn build(lines: usize, tokens: usize, types: &Types, moments: bool) -> Result<Graph> {
    let mut g = Builder { graph: Graph::new(), types, moments };
    let batch = g.graph.dim("B", lines as u64)?;
    let sequence = g.graph.dim("S", tokens as u64)?;
    let rows = [batch.clone(), sequence.clone()];
    let lengths = g.graph.input("lengths", DType::U32, std::slice::from_ref(&batch))?;

    let mut x = g.embeddings(&rows)?;
    for layer in 0..LAYERS {
        x = g.layer(layer, x, lengths, &rows)?;
    }
    let pooled = g.graph.mean_pool(x, lengths)?;
    let embedding = g.graph.l2_normalize(pooled, EPS)?;
    g.graph.output(OUTPUT, embedding)?;
    Ok(g.graph)
}

struct Builder<'a> {
    graph: Graph,
    types: &'a Types,
    /// Whether the second moments of inputs are outputs too.
    moments: bool,
}

impl Builder<'_> {
    /// A weight of its type.
    fn weight(&mut self, name: &str, shape: &[usize]) -> Result<(ValueId, DType)> {
        let dtype = self.types.get(name).ok_or_else(|| Error::new(format!("`{name}` has no type")))?;
        Ok((self.graph.weight(name, *dtype, shape)?, *dtype))
    }

    fn embeddings(&mut self, rows: &[Dim]) -> Result<ValueId> {
        // The sum has the first table's type, so the smallest, which stays f32, comes first.
        let tables = [
            ("types", "token_type", model::TYPES),
            ("positions", "position", model::POSITIONS),
            ("ids", "word", model::VOCABULARY),
        ];
        let (mut parts, mut words) = (Vec::new(), None);
        for (input, table, height) in tables {
            let index = self.graph.input(input, DType::U32, rows)?;
            let name = format!("embeddings.{table}_embeddings.weight");
            let (table, dtype) = self.weight(&name, &[height, HIDDEN])?;
            // A table in blocks is looked up by itself.
            if dtype.is_blocks() {
                words = Some(self.graph.embed(&[(index, table)])?);
            } else {
                parts.push((index, table));
            }
        }
        let mut sum = self.graph.embed(&parts)?;
        if let Some(words) = words {
            sum = self.graph.add(words, sum)?;
        }
        self.layer_norm("embeddings.LayerNorm", sum)
    }

    fn layer(&mut self, layer: usize, x: ValueId, lengths: ValueId, rows: &[Dim]) -> Result<ValueId> {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let flat = [rows[0].clone(), rows[1].clone(), Dim::from(HIDDEN)];
        let heads = [rows[0].clone(), rows[1].clone(), Dim::from(HEADS), Dim::from(HIDDEN / HEADS)];

        let mut qkv = [x; 3];
        for (value, part) in qkv.iter_mut().zip(["query", "key", "value"]) {
            let y = self.linear(&name(&format!("attention.self.{part}")), x, [HIDDEN, HIDDEN])?;
            *value = self.graph.reshape(y, &heads)?;
        }
        let [q, k, v] = qkv;
        let how = Attention { lengths: Some(lengths), ..Default::default() };
        let attended = self.graph.attention(q, k, v, how)?;
        let attended = self.graph.reshape(attended, &flat)?;
        let y = self.linear(&name("attention.output.dense"), attended, [HIDDEN, HIDDEN])?;
        let y = self.graph.add(y, x)?;
        let x = self.layer_norm(&name("attention.output.LayerNorm"), y)?;

        let y = self.linear(&name("intermediate.dense"), x, [INNER, HIDDEN])?;
        let y = self.graph.gelu(y)?;
        let y = self.linear(&name("output.dense"), y, [HIDDEN, INNER])?;
        let y = self.graph.add(y, x)?;
        self.layer_norm(&name("output.LayerNorm"), y)
    }

    /// x · wᵀ + b.
    fn linear(&mut self, name: &str, x: ValueId, [outputs, inputs]: [usize; 2]) -> Result<ValueId> {
        let weight = format!("{name}.weight");
        // The key's input is the query's, and so is the value's.
        if self.moments && !name.ends_with("key") && !name.ends_with("value") {
            let rows = Dim::product(&self.graph.value(x).shape[..2]);
            let x = self.graph.reshape(x, &[rows, inputs.into()])?;
            let columns = self.graph.transpose(x, &[1, 0])?;
            let moments = self.graph.matmul(columns, columns)?;
            self.graph.output(input_of(&weight), moments)?;
        }
        let (w, dtype) = self.weight(&weight, &[outputs, inputs])?;
        let y = if dtype == DType::I8 {
            let scale = self.graph.weight(&scale_name(&weight), DType::F32, &[outputs])?;
            self.graph.matmul_int8(x, w, scale, None)?
        } else {
            self.graph.matmul(x, w)?
        };
        let b = self.graph.weight(&format!("{name}.bias"), DType::F32, &[outputs])?;
        Ok(self.graph.add(y, b)?)
    }

    fn layer_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let w = self.graph.weight(&format!("{name}.weight"), DType::F32, &[HIDDEN])?;
        let b = self.graph.weight(&format!("{name}.bias"), DType::F32, &[HIDDEN])?;
        Ok(self.graph.layer_norm(x, w, b, EPS)?)
    }
}

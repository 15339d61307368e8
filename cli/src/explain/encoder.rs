//! The graph of all-MiniLM-L6-v2: six layers of 384, 12 heads, for up to 32 sentences of 256 tokens.

use tachylite::ops::attention::Attention;
use tachylite::{DType, Dim, Graph, Result, ValueId};

const LAYERS: usize = 6;
const HIDDEN: usize = 384;
const HEADS: usize = 12;
const INNER: usize = 1536;
const EPS: f32 = 1e-12;

/// The graph, with linear weights of a type.
pub(super) fn graph(weights: DType) -> Result<Graph> {
    let mut e = Encoder { g: Graph::new(), weights };
    let rows = [e.g.dim("B", 32)?, e.g.dim("S", 256)?];
    let lengths = e.g.input("lengths", DType::U32, &rows[..1])?;
    let mut tables = Vec::new();
    for (name, height) in [("types", 2), ("ids", 30522), ("positions", 512)] {
        let index = e.g.input(name, DType::U32, &rows)?;
        tables.push((index, e.g.weight(&format!("embeddings.{name}"), DType::F32, &[height, HIDDEN])?));
    }
    let x = e.g.embed(&tables)?;
    let mut x = e.norm("embeddings.norm", x)?;
    for layer in 0..LAYERS {
        x = e.layer(layer, x, lengths, &rows)?;
    }
    let x = e.g.mean_pool(x, lengths)?;
    let x = e.g.l2_normalize(x, EPS)?;
    e.g.output("embedding", x)?;
    Ok(e.g)
}

struct Encoder {
    g: Graph,
    weights: DType,
}

impl Encoder {
    fn layer(&mut self, layer: usize, x: ValueId, lengths: ValueId, rows: &[Dim; 2]) -> Result<ValueId> {
        let [b, s] = rows.clone();
        let heads = [b.clone(), s.clone(), HEADS.into(), (HIDDEN / HEADS).into()];
        let mut part = |name: &str| {
            let y = self.linear(&format!("{layer}.{name}"), x, HIDDEN, HIDDEN)?;
            self.g.reshape(y, &heads)
        };
        let (q, k, v) = (part("query")?, part("key")?, part("value")?);
        let o = self.g.attention(q, k, v, Attention { lengths: Some(lengths), ..Default::default() })?;
        let o = self.g.reshape(o, &[b, s, HIDDEN.into()])?;
        let o = self.linear(&format!("{layer}.output"), o, HIDDEN, HIDDEN)?;
        let x = self.g.add(o, x)?;
        let x = self.norm(&format!("{layer}.norm"), x)?;
        let h = self.linear(&format!("{layer}.up"), x, INNER, HIDDEN)?;
        let h = self.g.gelu(h)?;
        let h = self.linear(&format!("{layer}.down"), h, HIDDEN, INNER)?;
        let x = self.g.add(h, x)?;
        self.norm(&format!("{layer}.out_norm"), x)
    }

    /// x · wᵀ + b.
    fn linear(&mut self, name: &str, x: ValueId, outputs: usize, inputs: usize) -> Result<ValueId> {
        let w = self.g.weight(&format!("{name}.w"), self.weights, &[outputs, inputs])?;
        let y = if self.weights == DType::I8 {
            let scale = self.g.weight(&format!("{name}.scale"), DType::F32, &[outputs])?;
            self.g.matmul_int8(x, w, scale, None)?
        } else {
            self.g.matmul(x, w)?
        };
        let b = self.g.weight(&format!("{name}.b"), DType::F32, &[outputs])?;
        self.g.add(y, b)
    }

    fn norm(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let w = self.g.weight(&format!("{name}.w"), DType::F32, &[HIDDEN])?;
        let b = self.g.weight(&format!("{name}.b"), DType::F32, &[HIDDEN])?;
        self.g.layer_norm(x, w, b, EPS)
    }
}

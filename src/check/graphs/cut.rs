//! Weights that no binding holds, which are cut: as if bindings were much smaller than they are.

use super::few_rows::FEW;
use super::{GraphCase, ROWS, no_fill};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::rng::Rng;

/// The most bytes that a weight's buffer may have.
pub(super) const WEIGHT_BYTES: u64 = 4096;

pub(super) static ALL: &[GraphCase] = &[
    GraphCase { name: "graph.cut_weights", build, calls: ROWS, fill: indices },
    GraphCase { name: "graph.cut_norms", build: norms, calls: FEW, fill: no_fill },
];

/// Rows of the tables.
const TABLE: usize = 300;

/// Some past the end.
fn indices(name: &str, shape: &[usize], rng: &mut Rng) -> Option<Vec<f64>> {
    let n = shape.iter().product();
    name.starts_with("idx").then(|| (0..n).map(|_| rng.below(TABLE as u64 + 9) as f64).collect())
}

/// Products with pieces of less than a panel, of whole panels, and of blocks, with all that may follow a sum; two
/// of one input, which are joined before they are cut; tables of floats, both cut, and of blocks.
fn build(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let idx = g.input("idx", DType::U32, std::slice::from_ref(&r))?;
    let other = g.input("idx_other", DType::U32, std::slice::from_ref(&r))?;
    let words = g.weight("words", dtype, &[TABLE, 32])?;
    let places = g.weight("places", DType::F32, &[TABLE - 7, 32])?;
    let x = g.embed(&[(idx, words), (other, places)])?;
    let x = g.relu(x)?;
    let blocks = g.weight("blocks", DType::Q5_0, &[TABLE, 32])?;
    let blocks = g.embed(&[(idx, blocks)])?;
    let wide = g.weight("wide", dtype, &[220, 32])?;
    let bias = g.weight("bias", DType::F32, &[220])?;
    let residual = g.input("residual", dtype, &[r.clone(), 220.into()])?;
    let column = g.input("column", dtype, &[r, 1.into()])?;
    let y = g.matmul(x, wide)?;
    let y = g.add(y, bias)?;
    let y = g.gelu(y)?;
    let y = g.mul(y, column)?;
    let y = g.add(residual, y)?;
    g.output("blocks", blocks)?;
    g.output("y", y)?;
    for (name, n, w) in [("q", 300, DType::Q4_0), ("k", 96, DType::Q4_0), ("narrow", 301, DType::F16)] {
        let w = g.weight(name, w, &[n, 32])?;
        let product = g.matmul(x, w)?;
        let product = g.silu(product)?;
        g.output(&format!("{name}_product"), product)?;
    }
    // Scales and zero points go with their rows: of a column each, or of a group.
    for (name, w, groups) in [("int8", DType::I8, 1), ("uint4", DType::U4, 2)] {
        let grouped = |n| if groups == 1 { vec![n] } else { vec![n, groups] };
        let weight = g.weight(name, w, &[TABLE, 64])?;
        let scale = g.weight(&format!("{name}_scale"), DType::F32, &grouped(TABLE))?;
        let zero = g.weight(&format!("{name}_zero"), w, &grouped(TABLE))?;
        let doubled = g.concat(&[x, x], 1)?;
        let product = g.matmul_int8(doubled, weight, scale, Some(zero))?;
        g.output(&format!("{name}_product"), product)?;
    }
    Ok(())
}

/// A vocabulary's logits of a few rows, whose norm goes with every piece; and two weights that are too large to be
/// one together.
fn norms(g: &mut Graph, dtype: DType) -> Result<()> {
    let m = g.dim("M", 4)?;
    let x = g.input("x", dtype, &[m, 32.into()])?;
    let gain = g.weight("gain", DType::F32, &[32])?;
    let normal = g.rms_norm(x, gain, 1e-5)?;
    let vocabulary = g.weight("vocabulary", DType::Q8_0, &[308, 32])?;
    let logits = g.matmul(normal, vocabulary)?;
    g.output("logits", logits)?;
    let [gate, up] = [g.weight("gate", DType::Q8_0, &[128, 32])?, g.weight("up", DType::Q8_0, &[128, 32])?];
    let (gate, up) = (g.matmul(x, gate)?, g.matmul(x, up)?);
    let gate = g.silu(gate)?;
    let y = g.mul(gate, up)?;
    g.output("y", y)
}

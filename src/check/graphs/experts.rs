//! Mixtures of experts.

use super::{GraphCase, linear};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::op::Unary;
use crate::ops::matmul_experts::Experts;
use crate::rng::Rng;

pub(super) static ALL: &[GraphCase] = &[GraphCase {
    name: "graph.experts",
    build: experts,
    calls: &[&[("T", 40.0)], &[("T", 0.0)], &[("T", 1.0)], &[("T", 7.0)]],
    fill: ids,
}];

/// A router and a mixture of experts, ids that are no experts among those that are; and a product with
/// a bias for each expert, which is a row of a table.
fn experts(g: &mut Graph, dtype: DType) -> Result<()> {
    const C: usize = 256;
    let t = g.dim("T", 40)?;
    let x = g.input("x", dtype, &[t.clone(), C.into()])?;
    let ids = g.input("ids", DType::U32, &[t.clone(), 3.into()])?;
    let scores = linear(g, x, "router", dtype, 3, C)?;
    let weights = g.softmax(scores, 1)?;
    let [gate, up] = ["gate", "up"].map(|name| g.weight(name, DType::Q6K, &[EXPERTS, 96, C]));
    let down = g.weight("down", dtype, &[EXPERTS, C, 96])?;
    let how = Experts { gate: gate?, up: up?, down, act: Unary::Silu };
    let y = g.experts(x, ids, weights, how)?;
    let y = g.add(x, y)?;
    let biases = g.weight("biases", DType::F32, &[EXPERTS, 12])?;
    let w = g.weight("w", DType::F16, &[EXPERTS, 12, C])?;
    let bias = g.embed(&[(ids, biases)])?;
    let z = g.matmul_experts(y, w, ids)?;
    let z = g.add(z, bias)?;
    g.output("y", y)?;
    g.output("z", z)
}

/// Experts of [`experts`].
const EXPERTS: usize = 5;

/// Numbers that are experts, and the next.
fn ids(name: &str, shape: &[usize], rng: &mut Rng) -> Option<Vec<f64>> {
    let n = shape.iter().product();
    (name == "ids").then(|| (0..n).map(|_| rng.below(EXPERTS as u64 + 1) as f64).collect())
}

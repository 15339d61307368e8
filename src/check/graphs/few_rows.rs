//! What matmuls of few rows do besides: norms of their input, and one gating the other.

use super::{GraphCase, no_fill};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::op::Attr;
use crate::rng::Rng;

/// Calls of up to four rows.
pub(super) const FEW: &[&[(&str, f64)]] = &[&[("M", 1.0)], &[("M", 3.0)], &[("M", 4.0)], &[("M", 0.0)]];

pub(super) static ALL: &[GraphCase] = &[
    GraphCase { name: "graph.gates", build: gates, calls: FEW, fill: scales },
    GraphCase { name: "graph.one_row", build: one_row, calls: &[&[]], fill: no_fill },
    GraphCase { name: "graph.norms", build: norms, calls: FEW, fill: no_fill },
];

fn scales(name: &str, shape: &[usize], rng: &mut Rng) -> Option<Vec<f64>> {
    let count = shape.iter().product();
    name.starts_with("scale").then(|| (0..count).map(|_| 0.01 * (1.0 + rng.unit())).collect())
}

/// The weights `gate` and `up` of a network, both `[n, k]`, over the normalised `x`.
fn halves(g: &mut Graph, x: ValueId, w: DType, n: usize, k: usize, i: usize) -> Result<[ValueId; 2]> {
    let mut half = |name: &str| {
        let weight = g.weight(&format!("{name}{i}"), w, &[n, k])?;
        if w == DType::I8 {
            let scale = g.weight(&format!("scale_{name}{i}"), DType::F32, &[n])?;
            return g.matmul_int8(x, weight, scale, None);
        }
        g.matmul(x, weight)
    };
    Ok([half("gate")?, half("up")?])
}

/// Every function that gates, in either order, by weights of several types, after a norm and without.
fn gates(g: &mut Graph, dtype: DType) -> Result<()> {
    let m = g.dim("M", 4)?;
    for (i, (w, n, k)) in
        [(DType::F32, 128, 37), (DType::Q8_0, 256, 320), (DType::Q4K, 128, 512), (DType::I8, 384, 70)]
            .into_iter()
            .enumerate()
    {
        let x = g.input(&format!("x{i}"), dtype, &[m.clone(), k.into()])?;
        let gain = g.weight(&format!("gain{i}"), if i == 1 { DType::F16 } else { DType::F32 }, &[k])?;
        let normal = if i == 2 { x } else { g.rms_norm(x, gain, 1e-5)? };
        let [gate, up] = halves(g, normal, w, n, k, i)?;
        let act = match i {
            0 => g.silu(gate)?,
            1 => g.gelu(gate)?,
            2 => g.gelu_tanh(gate)?,
            _ => g.relu(gate)?,
        };
        let y = if i % 2 == 0 { g.mul(act, up)? } else { g.mul(up, act)? };
        let residual = g.input(&format!("residual{i}"), dtype, &[m.clone(), n.into()])?;
        let y = g.add(y, residual)?;
        g.output(&format!("y{i}"), y)?;
    }
    Ok(())
}

/// A single row, as when one token follows the other: wide enough for whole panels, and for a few lanes only.
fn one_row(g: &mut Graph, dtype: DType) -> Result<()> {
    let x = g.input("x", dtype, &[1.into(), 1088.into()])?;
    let gain = g.weight("gain", DType::F32, &[1088])?;
    let normal = g.rms_norm(x, gain, 1e-6)?;
    let [gate, up] = halves(g, normal, DType::F32, 1024, 1088, 0)?;
    let gate = g.silu(gate)?;
    let hidden = g.mul(gate, up)?;
    let hidden = g.scale(hidden, Attr::F32(1.0 / 1024.0))?; // within f16
    let down = g.weight("down", DType::Q8_0, &[1088, 1024])?;
    let y = g.matmul(hidden, down)?;
    let y = g.add(x, y)?;
    g.output("y", y)
}

/// Several matmuls of one norm, of which some are siblings and others have another type; and a norm that is wanted
/// besides, so that it stays.
fn norms(g: &mut Graph, dtype: DType) -> Result<()> {
    let m = g.dim("M", 4)?;
    for (i, kept) in [false, true].into_iter().enumerate() {
        let x = g.input(&format!("x{i}"), dtype, &[m.clone(), 300.into()])?;
        let gain = g.weight(&format!("gain{i}"), DType::F32, &[300])?;
        let normal = g.rms_norm(x, gain, 1e-5)?;
        for (name, n) in [("q", 24), ("k", 8), ("v", 12)] {
            let w = g.weight(&format!("{name}{i}"), DType::F32, &[n, 300])?;
            let bias = g.weight(&format!("bias_{name}{i}"), DType::F32, &[n])?;
            let y = g.matmul(normal, w)?;
            let y = g.add(y, bias)?;
            let y = g.softmax(y, 1)?; // so that it is no output, and may be a slice
            g.output(&format!("{name}{i}_out"), y)?;
        }
        if kept {
            g.output("normal", normal)?;
        }
    }
    Ok(())
}

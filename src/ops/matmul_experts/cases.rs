//! What products with experts are tested at.

use super::GATES;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::kernel::Kernel;
use crate::op::Axis::{C, E, K, M, U};
use crate::op::{Shape, Sizes};
use crate::ops::past_one_axis;
use crate::plan::prepare::PANEL;
use crate::rng::Rng;

/// From the sixth on in the order of [`GATES`].
pub(super) const VARIANTS: &[&str] = &[
    "plain",
    "per_expert",
    "past_the_end",
    "one_expert",
    "weighted",
    "gated",
    "gated_gelu",
    "gated_gelu_tanh",
    "gated_relu",
];

/// Variants are about which rows meet, so that a type of each kind is enough, and nothing is nothing in all.
pub(super) fn applies(shape: &Shape) -> bool {
    let some = shape.sizes.product(&[M, U, E, C, K]) > 0.0;
    match shape.variant {
        0 => true,
        5 => some && matches!(shape.w, DType::F32 | DType::F16 | DType::Q8_0 | DType::Q4K | DType::Q6K),
        _ => some && shape.w == DType::F32,
    }
}

pub(super) fn many_workgroups(kernel: &Kernel) -> Option<Sizes> {
    let rows = kernel.blocks.iter().filter(|(axis, _)| *axis == M).map(|(_, n)| *n).max();
    let pairs = past_one_axis(rows.map_or(1, super::tile::shared));
    Some(Sizes::new(&[(M, pairs), (U, 1), (E, 3), (C, 1), (K, 1)]))
}

pub(super) fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [m, u, e, c] = [M, U, E, C].map(|a| shape.sizes.get(a));
    // Whole panels in one variant: kernels read those in runs.
    let c = if shape.variant == 5 { c.next_multiple_of(PANEL as usize) } else { c };
    let k = shape.sizes.get(K).next_multiple_of(shape.w.block());
    let pairs = [Dim::from(m), u.into()];
    let rows = if shape.variant == 1 { &pairs[..] } else { &pairs[..1] };
    let x = g.input("x", shape.x, &[rows, &[k.into()]].concat())?;
    let w = g.weight("w", shape.w, &[e, c, k])?;
    let gates = shape.variant.checked_sub(5).map(|i| GATES[i]);
    let up = gates.map(|_| g.weight("up", shape.w, &[e, c, k])).transpose()?;
    let ids = g.input("ids", DType::U32, &pairs)?;
    let mut y = match (gates, up) {
        (Some(act), Some(up)) => g.gated_experts(x, (w, up), ids, act)?,
        _ => g.matmul_experts(x, w, ids)?,
    };
    if shape.variant == 4 {
        let weights = g.input("weights", DType::F32, &[Dim::from(m), u.into(), Dim::ONE])?;
        let bias = g.weight("bias", DType::F32, &[c])?;
        y = g.add(y, bias)?;
        y = g.mul(y, weights)?;
    }
    g.output("y", y)
}

/// The experts of each token: different ones where there are enough; in one variant also numbers that are no
/// experts, in another always the same one, so that the others have no token.
pub(super) fn fill(name: &str, shape: &Shape, rng: &mut Rng) -> Option<Vec<f64>> {
    if name != "ids" {
        return None;
    }
    let [m, u, e] = [M, U, E].map(|a| shape.sizes.get(a));
    let mut all = Vec::with_capacity(m * u);
    for _ in 0..m {
        let mut left: Vec<usize> = (0..e).collect();
        for _ in 0..u {
            all.push(match shape.variant {
                2 if rng.below(2) == 0 => [e, e + 1, u32::MAX as usize][rng.below(3) as usize] as f64,
                3 => (e / 2) as f64,
                _ if left.is_empty() => rng.below(e as u64) as f64,
                _ => left.swap_remove(rng.below(left.len() as u64) as usize) as f64,
            });
        }
    }
    Some(all)
}

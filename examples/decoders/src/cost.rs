//! The least that a token takes: bytes that a device must read for it.

use std::collections::BTreeSet;

use tachylite::plan::Role;
use tachylite::{DType, Plan};

use crate::config::Config;

/// Bytes that one token of one sequence must read: all weights that are multiplied with, of experts those that are
/// used, and keys and values of `position` positions, or states. Not the one row of the table of tokens, nor what
/// steps hand each other.
pub fn bytes_per_token(plan: &Plan, config: &Config, cache: DType, position: f64) -> f64 {
    let (used, caches) = match config {
        Config::Transformer(t) => {
            let row = 2 * t.kv_heads * t.head_width * cache.block_bytes();
            let seen = |layer: usize| {
                let window = t.window.as_ref().filter(|w| !(layer + 1).is_multiple_of(w.full_every));
                window.map_or(position, |w| position.min(w.width as f64))
            };
            let used = t.experts.map_or(1.0, |e| e.used as f64 / e.count as f64);
            (used, (0..t.layers).map(|layer| seen(layer) * row as f64).sum())
        }
        Config::Rwkv7(r) => (1.0, (r.layers * r.width * (r.head_width + 2) * 4) as f64),
    };
    let multiplied = plan.steps.iter().filter(|s| !s.kernel_name.starts_with("embed."));
    let buffers: BTreeSet<usize> = multiplied.flat_map(|s| s.bindings.iter().map(|b| b.buffer)).collect();
    let weight = |buffer: usize| match plan.buffers[buffer].role {
        Role::Weight(w) => {
            let part =
                if plan.weights[w].sources.iter().any(|s| s.name.contains("_exps")) { used } else { 1.0 };
            plan.weights[w].bytes as f64 * part
        }
        _ => 0.0,
    };
    buffers.into_iter().map(weight).sum::<f64>() + caches
}

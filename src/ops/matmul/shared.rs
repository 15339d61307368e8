//! Square tiles staged in workgroup memory, for GPUs where that is faster than a cache.

use super::int8::weight_knobs;
use super::{tile_cost, tile_work, tiles};
use crate::kernel::{Kernel, Site, Work};
use crate::op::Axis::{K, M, N};
use crate::profile::DeviceKind;

pub(super) static SHARED: Kernel = Kernel {
    name: "matmul.shared",
    file: "matmul_shared.wgsl",
    source: include_str!("../../../shaders/matmul_shared.wgsl"),
    blocks: &[(M, 64), (N, 64), (K, 16)],
    knobs: weight_knobs,
    workgroups: |s| tiles(s, 64, 64),
    cost: |s| work(s, 64, 64),
    ..Kernel::PLAIN
};

pub(super) static SHARED_LARGE: Kernel = Kernel {
    name: "matmul.shared_large",
    file: "matmul_shared.wgsl",
    source: include_str!("../../../shaders/matmul_shared.wgsl"),
    blocks: &[(M, 128), (N, 128), (K, 16)],
    knobs: |s| {
        let own = [("SIDE", 16), ("LANES", 256), ("FOURS", 32), ("PITCH", 32), ("LOADS", 1)];
        own.map(|(name, n)| (name, format!("{n}u"))).into_iter().chain(weight_knobs(s)).collect()
    },
    workgroups: |s| tiles(s, 128, 128),
    cost: |s| work(s, 128, 256),
    ..Kernel::PLAIN
};

/// Time for the same products beyond what its traffic says, with matmul.tile's as 1, on GPUs with memory of
/// their own: nobody measured yet, so it has to save traffic to be chosen.
const DISCRETE: f64 = 1.25;
/// Elsewhere workgroup memory may be as slow as any other, and staging is loss: matmul.tile takes 0.3 of the
/// time on llvmpipe (benches/log.md). Only measuring chooses it there.
const OTHERS: f64 = 3.0;

fn work(s: &Site<'_>, side: u64, lanes: u64) -> Work {
    if s.profile.kind == DeviceKind::Discrete {
        return tile_work(s, (side, side), lanes, DISCRETE);
    }
    let tile = tile_cost(s, 16.0);
    let own = tile_work(s, (side, side), lanes, OTHERS);
    Work { bytes: tile.bytes.max(own.bytes) * OTHERS, ..own }
}

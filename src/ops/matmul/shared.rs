//! Square tiles staged in workgroup memory, for GPUs, where that is faster than a cache.

use super::int8::weight_knobs;
use super::{tile_work, tiles};
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

/// Time for the same products, with matmul.tile's as 1. Where workgroup memory is as slow as any other
/// (benches/log.md), staging is loss; elsewhere nobody measured yet, and it is left to measuring.
const SOFTWARE: f64 = 2.0;
const UNMEASURED: f64 = 1.25;

fn work(s: &Site<'_>, side: u64, lanes: u64) -> Work {
    let relative = if s.profile.kind == DeviceKind::Cpu { SOFTWARE } else { UNMEASURED };
    tile_work(s, (side, side), lanes, relative)
}

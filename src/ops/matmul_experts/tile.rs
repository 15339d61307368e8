//! Many tokens: pairs of a token and an expert are sorted by expert, and tiles are as a matmul's.

use super::vector::weights;
use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::kernel::{Kernel, Scratch, Site, Work};
use crate::op::Axis::{C, E, K, M, N, U};
use crate::ops::matmul::{block_knobs, packed, unpacking};
use crate::profile::DeviceKind;

/// Columns of a tile of registers.
const COLUMNS: u64 = 128;

const SORTED: &[Scratch] = &[
    Scratch::new("starts", DType::U32, |s| vec![Dim::from(s.size(E) + 1)]),
    Scratch::new("order", DType::U32, |s| vec![s.dim(M), s.dim(U)]),
];

/// What sorts the pairs.
static ORDER: Kernel = Kernel {
    name: "matmul_experts.order",
    file: "matmul_experts_order.wgsl",
    source: include_str!("../../../shaders/matmul_experts_order.wgsl"),
    workgroups: |s| Expr::from(Dim::from(s.size(E) + 1)),
    ..Kernel::PLAIN
};

pub(super) static TILE: Kernel = Kernel {
    name: "matmul_experts.tile",
    file: "matmul_experts_tile.wgsl",
    source: include_str!("../../../shaders/matmul_experts_tile.wgsl"),
    blocks: &[(M, 16), (C, COLUMNS), (K, 32)],
    knobs: |s| tile_knobs(s, 16),
    workgroups: |s| workgroups(s, 16, COLUMNS),
    cost: |s| work(s, (16, COLUMNS), 32, 1.0),
    scratch: SORTED,
    first: &[&ORDER],
    ..Kernel::PLAIN
};

/// As of matmul.tile, fewer rows mean more loads for each product, and fewer rows for nothing.
pub(super) static TILE_SMALL: Kernel = Kernel {
    name: "matmul_experts.tile_small",
    file: "matmul_experts_tile.wgsl",
    source: include_str!("../../../shaders/matmul_experts_tile.wgsl"),
    blocks: &[(M, 4), (C, COLUMNS), (K, 32)],
    knobs: |s| tile_knobs(s, 4),
    workgroups: |s| workgroups(s, 4, COLUMNS),
    cost: |s| work(s, (4, COLUMNS), 32, 1.0 / 0.6),
    scratch: SORTED,
    first: &[&ORDER],
    ..Kernel::PLAIN
};

pub(super) static BROADCAST: Kernel = Kernel {
    name: "matmul_experts.broadcast",
    file: "matmul_experts_broadcast.wgsl",
    source: include_str!("../../../shaders/matmul_experts_broadcast.wgsl"),
    blocks: &[(M, 16), (M, 32), (C, 32), (C, 64), (C, 128), (K, 4)],
    fits: |s| lanes(s).map(|_| ()),
    knobs: |s| {
        let Shape { lanes, loads, groups } = Shape::of(s);
        let rows = lanes * loads;
        let own =
            [("XS", loads), ("TN4", groups), ("LANES", lanes), ("ROWS", rows), ("SHARE", share(s, rows))];
        own.map(|(name, n)| (name, format!("{n}u"))).into_iter().chain(weight_knobs(s)).collect()
    },
    workgroups: |s| {
        let Shape { lanes, loads, groups } = Shape::of(s);
        workgroups(s, lanes * loads, groups * lanes * 4)
    },
    cost: |s| {
        let Shape { lanes, loads, groups } = Shape::of(s);
        // As matmul.broadcast beside matmul.tile.
        let relative = if s.profile.kind == DeviceKind::Cpu { 0.65 } else { 1.5 };
        work(s, (lanes * loads, groups * lanes * 4), lanes, relative)
    },
    scratch: SORTED,
    first: &[&ORDER],
    ..Kernel::PLAIN
};

/// How many pairs there are for each workgroup of a strip of columns, so that no workgroup has a second tile:
/// where experts have half a tile and more on average, there are up to three times as many tiles as full ones.
pub(super) fn share(s: &Site<'_>, rows: u64) -> u64 {
    let average = s.sizes.product(&[M, U]) / s.size(E).max(1) as f64;
    if average * 2.0 >= rows as f64 { shared(rows) } else { 1 }
}

/// The most pairs for each.
pub(super) const fn shared(rows: u64) -> u64 {
    if rows < 8 { 1 } else { rows / 4 }
}

/// The knobs of how `w` and `up` lie, and of what gates.
pub(super) fn weight_knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let gate = s.arg("up").map(|_| ("ACT", format!("{}u", s.attr_u32("act"))));
    let blocks = s.arg("w").and_then(|w| packed(w.dtype)).map(block_knobs);
    blocks.into_iter().flatten().chain(gate).collect()
}

fn tile_knobs(s: &Site<'_>, rows: u64) -> Vec<(&'static str, String)> {
    let own = [("TM", rows), ("SHARE", share(s, rows))].map(|(name, n)| (name, format!("{n}u")));
    own.into_iter().chain(weight_knobs(s)).collect()
}

fn workgroups(s: &Site<'_>, rows: u64, columns: u64) -> Expr {
    let pairs = Expr::from(s.dim(M).times(&s.dim(U))).ceil_div(share(s, rows));
    Expr::Mul(vec![pairs, Expr::from(s.dim(C)).ceil_div(columns)])
}

/// Tiles as there are where pairs spread over experts: the last of each is half full. Each computes all its rows
/// and columns and reads its strips of x and of one expert's weights, half of them from caches.
fn work(s: &Site<'_>, (rows, columns): (u64, u64), lanes: u64, relative: f64) -> Work {
    let pairs = s.sizes.product(&[M, U]);
    let hit = pairs.min(s.size(E) as f64);
    let tiles = (pairs / rows as f64 + hit / 2.0).min(pairs).max(hit);
    let strips = (s.size(C) as f64 / columns as f64).ceil();
    let halves = if s.arg("up").is_some() { 2.0 } else { 1.0 };
    let reads = (weights(s) * tiles + s.bytes("x") * strips) / 2.0;
    Work {
        flops: tiles
            * strips
            * (2.0 * rows as f64 + unpacking(s))
            * columns as f64
            * s.size(K) as f64
            * halves
            * relative,
        bytes: reads.max(weights(s) * hit + s.bytes("x")) + s.bytes("y"),
        invocations: tiles * strips * lanes as f64,
    }
}

/// What the lanes of a subgroup do.
struct Shape {
    /// How many there are.
    lanes: u64,
    /// Rows of x that each loads.
    loads: u64,
    /// Groups of four columns that each owns.
    groups: u64,
}

impl Shape {
    /// Where experts have many rows, 32; else 16, if there are not more lanes: fewer of them are for nothing.
    fn of(s: &Site<'_>) -> Self {
        let lanes = lanes(s).unwrap_or(32);
        let rows = s.sizes.product(&[M, U]) / (s.size(E).max(1) as f64);
        let wanted = if rows >= 24.0 { 32 } else { 16 };
        Self { lanes, loads: (wanted / lanes).clamp(1, 4), groups: if lanes <= 8 { 2 } else { 1 } }
    }
}

/// The size of all subgroups. Estimates and texts are only asked for where it is one.
fn lanes(s: &Site<'_>) -> Result<u64, String> {
    if !s.profile.features.subgroup {
        return Err("the device has no subgroups".into());
    }
    match s.profile.subgroup_sizes {
        (least, most) if least == most && [4, 8, 16, 32].contains(&least) => Ok(least.into()),
        (least, most) => {
            Err(format!("the device has no subgroups of one size of 4 to 32 lanes, but of {least} to {most}"))
        }
    }
}

/// Whether the columns of each expert begin with a panel of their own.
pub(super) fn in_whole_panels(s: &Site<'_>, panel: u64) -> bool {
    let columns = s.dim(C).constant();
    s.arg("w").is_some_and(|w| w.panels)
        && columns.is_some_and(|c| c > 0 && c.is_multiple_of(panel))
        && s.size(N) as u64 >= panel
}

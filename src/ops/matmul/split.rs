//! Few tiles and a long K: K is cut into shares that run side by side, and a second dispatch adds the shares
//! up in their order, so that two runs give the same bits.

use super::int8::{scale_knobs, weight_knobs};
use super::tile_cost;
use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::kernel::{Kernel, Scratch, Site, Work};
use crate::op::Axis::{B, K, M, N};

/// Rows of a tile; its columns are [`COLUMNS`].
const ROWS: u64 = 8;
const COLUMNS: u64 = 128;
/// Invocations of a tile.
const LANES: u64 = 32;
/// The least of K that is worth a share, and the most shares: the second dispatch reads them all.
const LEAST_K: u64 = 512;
const MOST: u64 = 32;
/// Invocations of the second dispatch in a workgroup, each with four columns of one row.
const BLOCK: u64 = 64;

pub(super) static SPLIT: Kernel = Kernel {
    name: "matmul.split",
    file: "matmul_split_sum.wgsl",
    source: include_str!("../../../shaders/matmul_split_sum.wgsl"),
    blocks: &[(M, ROWS), (N, COLUMNS), (K, 64)],
    knobs: |s| {
        let grouped = scale_knobs(s).into_iter();
        grouped.chain([("SPLITS", format!("{}u", splits(s)))]).collect()
    },
    workgroups: |s| {
        let groups = Expr::from(s.dim(N)).ceil_div(4);
        Expr::Mul(vec![s.dim(B).times(&s.dim(M)).into(), groups]).ceil_div(BLOCK)
    },
    cost: |s| {
        let (tile, sums) = (tile_cost(s, ROWS as f64), splits(s) as f64 * s.sizes.product(&[B, M, N]));
        // Shares are only worth something where they are long, and the device was not full without them.
        let worth = wanted(s).max(1) as f64;
        Work {
            flops: tile.flops + sums,
            bytes: tile.bytes + 2.0 * 4.0 * sums,
            invocations: tile.invocations * worth,
        }
    },
    batch_invariant: false,
    scratch: &[Scratch::new("part", DType::F32, |s| {
        vec![Dim::from(splits(s)), s.dim(B), s.dim(M), s.dim(N)]
    })],
    first: &[&PARTS],
    ..Kernel::PLAIN
};

static PARTS: Kernel = Kernel {
    name: "matmul.split_parts",
    file: "matmul_split.wgsl",
    source: include_str!("../../../shaders/matmul_split.wgsl"),
    knobs: |s| [vec![("SPLITS", format!("{}u", splits(s)))], weight_knobs(s)].concat(),
    workgroups: |s| {
        let along = |axis, n| Expr::from(s.dim(axis)).ceil_div(n);
        Expr::Mul(vec![Dim::from(splits(s)).into(), s.dim(B).into(), along(M, ROWS), along(N, COLUMNS)])
    },
    ..Kernel::PLAIN
};

fn tiles(s: &Site<'_>) -> u64 {
    let along = |axis, n: u64| (s.size(axis) as u64).div_ceil(n);
    (s.size(B) as u64).saturating_mul(along(M, ROWS)).saturating_mul(along(N, COLUMNS))
}

/// As many shares as fill the device, none too short.
fn wanted(s: &Site<'_>) -> u64 {
    let fill = s.profile.speeds.busy_invocations as u64 / LANES / tiles(s).max(1);
    fill.min(s.size(K) as u64 / LEAST_K).min(MOST)
}

/// How many there are: always two.
fn splits(s: &Site<'_>) -> u64 {
    wanted(s).max(2)
}

//! Many queries on cooperative matrices: rows of q and k are first staged as f16, padded to whole matrices and
//! relative to powers of two, so that nothing overflows; scores are summed in f32, and what follows them is f32.

use super::split::{group, knobs_of_share};
use super::{behind, cache_bytes};
use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::kernel::{Kernel, Scratch, Site, Work};
use crate::op::Axis::{B, C, D, G, H, S, T};
use crate::ops::matmul::matrix::{fits, of_subgroups};
use crate::plan::Numerics;

/// The most groups of C that an invocation sums, for four rows.
const HELD: u64 = 8;
/// Elements behind a row: one is its exponent, and as many keep the next row where matrices may begin.
const BEHIND: u64 = 8;

/// The three dispatches of one size of matrices.
macro_rules! kernels {
    ($name:ident $q:ident $k:ident $text:literal $side:literal $flag:ident) => {
        pub(super) static $name: Kernel = Kernel {
            name: concat!("attention.matrix_", $text),
            file: "attention_matrix.wgsl",
            source: include_str!("../../../shaders/attention_matrix.wgsl"),
            blocks: &[(S, 4 * $side), (T, 2 * $side), (D, $side)],
            fits: |s| fits(s, s.profile.features.$flag, $side),
            knobs: |s| knobs(s, $side),
            workgroups: |s| {
                let heads = s.dim(B).times(&s.dim(G)).times(&Dim::from(chunks(s, $side)));
                Expr::Mul(vec![heads.into(), rows(s).ceil_div(4 * $side)])
            },
            cost: |s| cost(s, $side),
            numerics: Numerics::F16Staged,
            scratch: &[
                Scratch::new("qh", DType::F16, |s| staged(s, most_rows(s), $side, 4 * $side)),
                Scratch::new("kh", DType::F16, |s| staged(s, s.size(T) as u64, $side, 2 * $side)),
            ],
            first: &[&$q, &$k],
            ..Kernel::PLAIN
        };

        static $q: Kernel = Kernel {
            name: concat!("attention.matrix_", $text, "_q"),
            file: "attention_matrix_q.wgsl",
            source: include_str!("../../../shaders/attention_matrix_q.wgsl"),
            knobs: |s| knobs_of_rows(s, $side, 4 * $side, &["TAIL"]),
            workgroups: |s| staging(s, rows(s)),
            ..Kernel::PLAIN
        };

        static $k: Kernel = Kernel {
            name: concat!("attention.matrix_", $text, "_k"),
            file: "attention_matrix_k.wgsl",
            source: include_str!("../../../shaders/attention_matrix_k.wgsl"),
            knobs: |s| knobs_of_rows(s, $side, 2 * $side, &["TAIL", "k_words", "PAGE"]),
            workgroups: |s| staging(s, s.dim(T).into()),
            ..Kernel::PLAIN
        };
    };
}

kernels!(MATRIX_16 Q_16 K_16 "16" 16 matrix_16);
kernels!(MATRIX_8 Q_8 K_8 "8" 8 matrix_8);

/// Queries of all heads that have keys and values in common.
fn rows(s: &Site<'_>) -> Expr {
    Expr::from(s.dim(S).times(&group(s).into()))
}

/// Elements of a row in whole matrices.
fn padded_width(s: &Site<'_>, side: u64) -> u64 {
    (s.size(D) as u64).next_multiple_of(side)
}

/// Rows as they are staged, `of_group` of each, and a tile behind the last.
fn staged(s: &Site<'_>, of_group: u64, side: u64, tile: u64) -> Vec<Dim> {
    let all = s.sizes.product(&[B, G]) as u64;
    let rows = match all.saturating_mul(of_group) {
        0 => 0,
        rows => rows.saturating_add(tile),
    };
    vec![rows.into(), (padded_width(s, side) + BEHIND).into()]
}

/// The most rows of a group.
fn most_rows(s: &Site<'_>) -> u64 {
    (s.size(S) as u64).saturating_mul(group(s))
}

/// Invocations that share four rows of a workgroup, and how many groups of C each sums.
fn columns(s: &Site<'_>, side: u64) -> [u64; 2] {
    let columns = (4 * u64::from(s.profile.subgroup_sizes.0) / side).max(1);
    [columns, (s.size(C) as u64).div_ceil(4).div_ceil(columns).clamp(1, HELD)]
}

/// Workgroups that each have columns of the values.
fn chunks(s: &Site<'_>, side: u64) -> u64 {
    let [columns, held] = columns(s, side);
    (s.size(C) as u64).div_ceil(4).div_ceil(columns * held).max(1)
}

fn knobs(s: &Site<'_>, side: u64) -> Vec<(&'static str, String)> {
    let [columns, held] = columns(s, side);
    let own = [
        ("COLUMNS", columns),
        ("HELD", held),
        ("CHUNK", columns * held),
        ("KEYS", 2 * side),
        ("DP", padded_width(s, side)),
    ];
    let shared =
        knobs_of_share(s, 0).into_iter().filter(|(name, _)| !["ROWS", "TAIL", "k_words"].contains(name));
    let own = own.into_iter().map(|(name, n)| (name, format!("{n}u")));
    shared.chain(of_subgroups(s, side)).chain(own).collect()
}

/// The knobs of what stages rows, besides those of `shared` names.
fn knobs_of_rows(s: &Site<'_>, side: u64, tile: u64, shared: &[&str]) -> Vec<(&'static str, String)> {
    let own = [("TILE", tile), ("DP4", padded_width(s, side) / 4), ("D4", (s.size(D) as u64).div_ceil(4))];
    let shared = knobs_of_share(s, 0).into_iter().filter(|(name, _)| shared.contains(name));
    shared.chain(own.map(|(name, n)| (name, format!("{n}u")))).collect()
}

/// An invocation for each row of every group.
fn staging(s: &Site<'_>, rows: Expr) -> Expr {
    Expr::Mul(vec![s.dim(B).times(&s.dim(G)).into(), rows]).ceil_div(64)
}

/// Products of q and k at four times the rate of others, after each was written and read once more.
fn cost(s: &Site<'_>, side: u64) -> Work {
    let tile = 4.0 * side as f64;
    let chunks = chunks(s, side) as f64;
    let of_group = (s.size(S) as f64 * group(s) as f64 / tile).ceil();
    let blocks = s.sizes.product(&[B, G]) * of_group;
    let keys = s.sizes.product(&[T]);
    let width = padded_width(s, side) as f64;
    let staged = 2.0 * width * (s.sizes.product(&[B, S, H]) + s.sizes.product(&[B, T, G]));
    let read = (2.0 * width * keys * s.sizes.product(&[B, G]) * chunks + cache_bytes(s, "v")) * of_group;
    let work = Work {
        flops: 2.0 * blocks * tile * keys * (width * chunks / 4.0 + s.size(C) as f64),
        bytes: s.bytes("q") + cache_bytes(s, "k") + s.bytes("o") + s.bytes("mask") + 2.0 * staged + read,
        invocations: blocks * chunks * 128.0,
    };
    behind(s, work)
}

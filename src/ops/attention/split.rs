//! Few queries over many keys: a share of the keys is a workgroup's, which reads each once for all heads that have
//! it in common, and a second dispatch joins the shares in their order. Shares are as long whatever else there is.

use super::{OPEN, behind, cache_bytes, of_caches};
use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::kernel::{Kernel, Scratch, Site, Work};
use crate::op::Axis::{B, C, D, G, H, S, T};

/// Keys of a share.
pub(super) const KEYS: u64 = 256;
/// The most rows of q, which are a head's query each, that a workgroup does at once, and the bytes it has for
/// them.
const MOST_ROWS: u64 = 4;
const MEMORY: u64 = 16384;

/// What kernels are that leave something of each share, and a dispatch that joins it.
pub(super) const SHARED: Kernel = Kernel {
    file: "attention_split_sum.wgsl",
    source: include_str!("../../../shaders/attention_split_sum.wgsl"),
    workgroups: |s| {
        let rows = s.dim(B).times(&s.dim(H)).times(&s.dim(S));
        let groups = s.size(C).div_ceil(4).max(usize::from(s.arg("lse").is_some()));
        Expr::from(rows.times(&groups.into())).ceil_div(64)
    },
    scratch: &[Scratch::new("part", DType::F32, |s| {
        let shares = (s.size(T) as u64).div_ceil(KEYS);
        let rows = s.dim(B).times(&s.dim(H)).times(&s.dim(S));
        vec![rows.times(&shares.into()), Dim::from(s.size(C).next_multiple_of(4) + 4)]
    })],
    ..Kernel::PLAIN
};

pub(super) static SPLIT: Kernel = Kernel {
    name: "attention.split",
    blocks: &[(S, 4), (T, KEYS), (D, 64)],
    cost: |s| behind(s, work(s, rows(s), chunks(s))),
    first: &[&PARTS],
    ..SHARED
};

static PARTS: Kernel = Kernel {
    name: "attention.split_parts",
    file: "attention_split.wgsl",
    source: include_str!("../../../shaders/attention_split.wgsl"),
    knobs: |s| {
        let columns = s.size(C).div_ceil(4).clamp(1, 64).next_power_of_two();
        let mut knobs = knobs_of_share(s, rows(s));
        knobs.push(("D4", format!("{}u", s.size(D).div_ceil(4).max(1))));
        knobs.push(("COLUMNS", format!("{columns}u")));
        knobs.push(("PARTS", format!("{}u", 64 / columns)));
        knobs
    },
    workgroups: |s| workgroups(s, rows(s), chunks(s)),
    ..Kernel::PLAIN
};

/// What a share costs whose keys are read once for `rows` rows, by `chunks` workgroups that each have columns of
/// the values.
pub(super) fn work(s: &Site<'_>, rows: u64, chunks: u64) -> Work {
    let blocks = (s.size(S) as f64 * group(s) as f64 / rows as f64).ceil();
    let (shares, chunks) = ((s.size(T) as f64 / KEYS as f64).ceil(), chunks as f64);
    let width = chunks * s.size(D) as f64 + s.size(C) as f64;
    // Where one share holds all keys there is nothing to join, and a dispatch too many.
    let worth = if shares > 1.0 { 1.0 } else { 1e3 };
    let left = 8.0 * s.sizes.product(&[B, H, S]) * shares * (s.size(C) + 4) as f64;
    let read = (cache_bytes(s, "k") * chunks + cache_bytes(s, "v")) * blocks;
    let of_groups = s.sizes.product(&[B, G]) * blocks;
    Work {
        flops: 2.0 * of_groups * rows as f64 * s.size(T) as f64 * width * worth,
        bytes: (read + s.bytes("mask") + left) * worth,
        invocations: of_groups * shares * 64.0,
    }
}

/// The knobs of whatever does a share.
pub(super) fn knobs_of_share(s: &Site<'_>, rows: u64) -> Vec<(&'static str, String)> {
    let hides = s.attr_u32("reach") != 0 || s.arg("mask").is_some();
    let mut knobs = vec![
        ("REACH", format!("{}u", s.attr_u32("reach"))),
        ("LEFT", (s.attr_u32("left") != OPEN).to_string()),
        ("HIDES", hides.to_string()),
        ("ROWS", format!("{rows}u")),
        ("TAIL", (!s.size(D).is_multiple_of(4)).to_string()),
    ];
    knobs.extend(of_caches(s));
    knobs
}

/// One for each share of the keys that some rows have in common, and for each chunk of columns.
pub(super) fn workgroups(s: &Site<'_>, rows: u64, chunks: u64) -> Expr {
    let of_group = s.dim(S).times(&group(s).into());
    let shares = Expr::from(s.dim(T)).ceil_div(KEYS);
    let whole = s.dim(B).times(&s.dim(G)).times(&Dim::from(chunks as usize));
    Expr::Mul(vec![whole.into(), Expr::from(of_group).ceil_div(rows), shares])
}

/// Query heads that have keys and values in common.
pub(super) fn group(s: &Site<'_>) -> u64 {
    (s.size(H) / s.size(G).max(1)) as u64
}

/// Workgroups that each have columns of the values.
fn chunks(s: &Site<'_>) -> u64 {
    s.size(C).div_ceil(256).max(1) as u64
}

/// Rows that a workgroup does at once: as many as there are, and as its memory holds.
fn rows(s: &Site<'_>) -> u64 {
    let each = (s.size(D) as u64).div_ceil(4).max(1) * 16 + KEYS * 4 + 8 * 4 + 64 * 16;
    let there = (s.size(S) as u64 * group(s)).clamp(1, MOST_ROWS).next_power_of_two();
    let holds = (MEMORY / each).max(1);
    there.min(1 << holds.ilog2())
}

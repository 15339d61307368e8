//! Many queries on a processor: a lane has rows of its own, and all lanes walk over keys and values together,
//! whose loads are then the same for all.

use super::cache_bytes;
use super::lanes::{fits, kept, pairs_of};
use super::split::{group, knobs_of_share};
use crate::dim::{Dim, Expr};
use crate::kernel::{Kernel, Site, Work};
use crate::op::Axis::{B, C, D, G, S, T};

/// The fewest invocations of a workgroup, and the most: more share what fetching takes, and have more rows that
/// wait for keys which only some of them see.
const LANES: [u64; 2] = [8, 64];
/// The most rows of q, which are a head's query each, that a lane does at once.
const MOST_ROWS: u64 = 4;
/// The most keys that lie in workgroup memory at once, and the bytes for them and their values.
const MOST_KEYS: u64 = 32;
const MEMORY: u64 = 16384;

pub(super) static ROWS: Kernel = Kernel {
    name: "attention.rows",
    file: "attention_rows.wgsl",
    source: include_str!("../../../shaders/attention_rows.wgsl"),
    blocks: &[(S, LANES[1] * MOST_ROWS), (T, MOST_KEYS), (D, 64)],
    fits,
    knobs: |s| {
        let mut knobs = knobs_of_share(s, rows(s));
        knobs.retain(|(name, _)| *name != "HIDES");
        knobs.push(("MASKED", s.arg("mask").is_some().to_string()));
        knobs.push(("LANES", format!("{}u", lanes(s))));
        knobs.push(("FOURS", format!("{}u", fours(s))));
        knobs.push(("D4", format!("{}u", s.size(D).div_ceil(4))));
        knobs.push(("C4", format!("{}u", s.size(C).div_ceil(4))));
        knobs.extend(pairs_of(s).into_iter().filter(|(name, _)| name.ends_with("_group")));
        knobs
    },
    workgroups: |s| {
        let of_group = Expr::from(s.dim(S).times(&group(s).into()));
        let heads: Dim = s.dim(B).times(&s.dim(G));
        Expr::Mul(vec![heads.into(), of_group.ceil_div(rows(s) * lanes(s))])
    },
    cost: |s| {
        let of_group = s.size(S) as f64 * group(s) as f64;
        let blocks = s.sizes.product(&[B, G]) * (of_group / (rows(s) * lanes(s)) as f64).ceil();
        let done = blocks * (rows(s) * lanes(s)) as f64 * s.sizes.product(&[T]);
        let of_block = (cache_bytes(s, "k") + cache_bytes(s, "v")) / s.sizes.product(&[B, G]).max(1.0);
        Work {
            // a load of k or v is for so many products
            flops: 2.0 * done * (s.size(D) + s.size(C)) as f64 * (0.5 + 2.0 / rows(s) as f64),
            // loads of a few rows, which wait for each other
            bytes: s.bytes("q") + s.bytes("o") + s.bytes("mask") + 4.0 * of_block * blocks,
            invocations: blocks * 64.0,
        }
    },
    ..Kernel::PLAIN
};

/// Rows that a lane does at once: as many as there are, and as make a text that a driver compiles in two seconds.
fn rows(s: &Site<'_>) -> u64 {
    let there = (s.size(S) as u64 * group(s)).div_ceil(LANES[0]).clamp(1, MOST_ROWS).next_power_of_two();
    there.min((kept(s) / 2).max(1))
}

/// Invocations of a workgroup: as many as have rows, or an eighth where each sees other keys.
fn lanes(s: &Site<'_>) -> u64 {
    let blocks = if s.attr_u32("reach") == 0 { 1 } else { 8 };
    let there = (s.size(S) as u64 * group(s)).div_ceil(rows(s) * blocks);
    there.clamp(LANES[0], LANES[1]).next_power_of_two()
}

/// Fours of keys that lie in workgroup memory at once.
fn fours(s: &Site<'_>) -> u64 {
    let each: usize = [D, C].map(|axis| 64 * s.size(axis).div_ceil(4).max(1)).iter().sum();
    (MEMORY / each as u64).min(MOST_KEYS / 4)
}

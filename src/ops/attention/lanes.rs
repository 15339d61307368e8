//! Few queries over many keys, for processors, whose lanes load one by one wherever they read: a lane has keys of
//! its own, and a workgroup is a subgroup. Shares of the keys, what is left of each, and the dispatch that joins
//! them are those of `attention.split`.

use super::split::{KEYS, SHARED, group, knobs_of_share, work, workgroups};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::kernel::{Kernel, Site, Work};
use crate::op::Axis::{C, D, S, T};
use crate::ops::rows::handing;
use crate::profile::DeviceKind;

/// The most rows of q, which are a head's query each, that a lane does at once.
const MOST_ROWS: u64 = 4;
/// The most groups of all rows of q, and of all sums, that a lane keeps: each is a line of the text, and 32 bytes
/// for each lane of eight.
const KEPT: u64 = 128;

/// The bytes of a cache line of every processor that runs WGSL by itself.
const LINE: u64 = 64;

pub(super) static LANES: Kernel = Kernel {
    name: "attention.lanes",
    blocks: &[(S, 4), (T, KEYS), (D, 64)],
    fits,
    cost: |s| {
        let work = work(s, rows(s), 1);
        Work { flops: work.flops * 2.0, ..work } // half the rate of attention.rows where its lanes are all in use
    },
    first: &[&PARTS],
    ..SHARED
};

static PARTS: Kernel = Kernel {
    name: "attention.lanes_parts",
    file: "attention_lanes.wgsl",
    source: include_str!("../../../shaders/attention_lanes.wgsl"),
    knobs: |s| {
        let mut knobs = knobs_of_share(s, rows(s));
        knobs.push(("LANES", format!("{}u", handing(s.profile).unwrap_or(8))));
        knobs.push(("D4", format!("{}u", s.size(D).div_ceil(4))));
        knobs.push(("C4", format!("{}u", s.size(C).div_ceil(4))));
        knobs.extend(pairs_of(s));
        knobs
    },
    workgroups: |s| workgroups(s, rows(s), 1),
    ..Kernel::PLAIN
};

/// Groups of a row of q, or of v if that is wider.
fn groups(d: usize, c: usize) -> u64 {
    d.max(c).div_ceil(4).max(1) as u64
}

/// Whether a lane keeps rows of these widths at all.
pub(super) fn keeps(d: usize, c: usize) -> bool {
    groups(d, c) <= KEPT
}

/// Rows that a workgroup does at once: as many as there are, and as a lane keeps.
fn rows(s: &Site<'_>) -> u64 {
    let there = (s.size(S) as u64 * group(s)).clamp(1, MOST_ROWS).next_power_of_two();
    there.min(kept(s))
}

/// Whether lanes can keep whole rows, and are such as had better.
pub(super) fn fits(s: &Site<'_>) -> Result<(), String> {
    // Of fewer lanes nobody gains what a text so long takes to compile.
    if s.profile.kind != DeviceKind::Cpu || handing(s.profile).is_none_or(|lanes| lanes < 8) {
        return Err("it is for processors with subgroups of one size of 8 to 16 lanes".into());
    }
    let (d, c) = (s.size(D), s.size(C));
    if !keeps(d, c) {
        return Err(format!("it is for up to {} elements of a row, not D = {d}, C = {c}", 4 * KEPT));
    }
    Ok(())
}

/// How many rows a lane keeps.
pub(super) fn kept(s: &Site<'_>) -> u64 {
    1 << (KEPT / groups(s.size(D), s.size(C))).max(1).ilog2()
}

/// How keys and values are read in pairs of words, if the device has u64, and what is touched ahead of them.
pub(super) fn pairs_of(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let of_k = pairs(s, "k", ["k_group", "K_LINES", "K_LINE"]);
    of_k.into_iter().chain(pairs(s, "v", ["v_group", "V_LINES", "V_LINE"])).collect()
}

/// How rows are read two words at a time, and how many lines of them are touched, of so many groups or words.
fn pairs(s: &Site<'_>, name: &str, [group, count, each]: [&'static str; 3]) -> Vec<(&'static str, String)> {
    let Some(arg) = s.arg(name) else { return Vec::new() };
    let wide = s.profile.features.shader_int64;
    let (alias, bytes) = match arg.dtype {
        DType::F32 if wide => (Some("vec2<u64>"), 16),
        DType::F16 if wide => (Some("u64"), 8),
        DType::U8 => (None, 4), // rows of a quantised cache are words
        _ => return Vec::new(),
    };
    let width = arg.shape.last().and_then(Dim::constant).unwrap_or(0);
    let lines = (width * arg.dtype.block_bytes() as u64).div_ceil(LINE);
    let alias = alias.map(|alias| (group, alias.to_owned()));
    alias.into_iter().chain([(count, format!("{lines}u")), (each, format!("{}u", LINE / bytes))]).collect()
}

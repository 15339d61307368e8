//! Few rows that are long: each is cut into shares, a team for each. What has to be known of a whole row before
//! any of it can be written takes a pass of its own, one dispatch, that leaves a number for every share; the
//! last dispatch reads those. How many shares there are follows from how long rows are, never from how many.

use super::{invocations, knobs_apart, rows};
use crate::dim::Expr;
use crate::dtype::DType;
use crate::kernel::{Kernel, Scratch, Site, Work, chain};
use crate::op::Axis::{C, R};
use crate::profile::DeviceKind;

/// Groups of four that are worth a share.
const WORTH: u64 = 512;
/// The least and the most shares: every team of a later pass reads them all.
const LEAST: u64 = 4;
const MOST: u64 = 32;
/// The shortest row of more shares than a processor's team has lanes, which then take several; cases straddle
/// it.
pub(crate) const MANY_SHARES: u64 = 4 * WORTH * 9;
/// Rows of a case that needs many workgroups, with the fewest shares and up to 16 in a workgroup.
pub(crate) const MANY: u64 = 16 / LEAST;

/// What a pass finds of each share; the numbers are those of `HOW` in rows_part.wgsl.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Find {
    Sum = 0,
    Squares = 1,
    Largest = 2,
    /// The squares of what is left after subtracting the mean, which a pass for the sum found.
    Spread = 3,
    /// The exponentials of what is left after subtracting the largest, which a pass found.
    Exponentials = 4,
}

/// A pass, but for its name and its knobs.
pub(crate) const PASS: Kernel = Kernel {
    file: "rows_part.wgsl",
    source: include_str!("../../../shaders/rows_part.wgsl"),
    workgroups,
    ..Kernel::PLAIN
};

/// The kernel that comes after the passes, but for what is its op's.
pub(crate) const LAST: Kernel = Kernel {
    blocks: &[(R, 4), (C, 4 * LEAST), (C, MANY_SHARES)],
    fits,
    knobs,
    workgroups,
    scratch: &[Scratch::new("part", DType::F32, |s| vec![s.dim(R).times(&(2 * shares(s)).into())])],
    ..Kernel::PLAIN
};

/// What a single pass leaves.
pub(crate) const ONE_PASS: &[Scratch] =
    &[Scratch::new("part", DType::F32, |s| vec![s.dim(R).times(&shares(s).into())])];

/// Where the policy asks that choices not see how many rows there are, a choice has to stand: so what may be in
/// the way of the dispatches is asked for here.
fn fits(s: &Site<'_>) -> Result<(), String> {
    let operands = chain::operands(s.pre).len() + chain::operands(s.post).len();
    let tensors = s.args.iter().filter(|a| a.name != "part").count();
    let (needed, granted) = (tensors + operands + 1, s.profile.limits.storage_buffers_per_stage);
    if needed as u64 > u64::from(granted) {
        return Err(format!("it needs {needed} storage buffers, but the device grants {granted}"));
    }
    Ok(())
}

/// The knobs of the last dispatch.
pub(crate) fn knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    [knobs_apart(s, C), vec![("SPLITS", format!("{}u", shares(s)))]].concat()
}

/// The knobs of a pass.
pub(crate) fn pass(s: &Site<'_>, find: Find) -> Vec<(&'static str, String)> {
    [knobs(s), vec![("HOW", format!("{}u", find as u32))]].concat()
}

fn workgroups(s: &Site<'_>) -> Expr {
    let shares = s.dim(R).times(&shares(s).into());
    Expr::from(shares).ceil_div(rows(s, C).teams)
}

/// Whole shares that a row is long enough for.
fn wanted(s: &Site<'_>) -> u64 {
    (s.size(C) as u64 / 4 / WORTH).clamp(1, MOST)
}

fn shares(s: &Site<'_>) -> u64 {
    wanted(s).max(LEAST)
}

/// The cost of a kernel with these passes: as much as that which does a row at once, whose cost `row` is, but that
/// x is read again whole. Shares fill a device only where they are long; and no processor, where a single row
/// takes 1.22 to 1.35 times as long in shares on two cores (llvmpipe of Mesa 26.2, benches/log.md); and where one
/// team holds a whole row in registers, nobody measured yet that anything is gained.
pub(crate) fn cost(s: &Site<'_>, row: Work, passes: u32) -> Work {
    let again = super::again(s, C);
    let alone = again == 0.0 || s.profile.kind == DeviceKind::Cpu;
    let filled = if alone { 1 } else { wanted(s) };
    Work {
        bytes: row.bytes + f64::from(passes) * (1.0 - again) * s.bytes("x"),
        invocations: invocations(s, C) * filled as f64,
        ..row
    }
}

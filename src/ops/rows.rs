//! How kernels that go along rows share them out: one place for all of them.
//!
//! A team of invocations owns a row and holds it in registers, so that it is read once. Everything here
//! follows from the device and from how long rows are, never from how many there are: a row's bits depend
//! on that row alone.

use crate::dim::Expr;
use crate::kernel::{Kernel, Site};
use crate::op::Axis::{self, C, R};
use crate::op::Sizes;
use crate::ops::past_one_axis;
use crate::profile::{DeviceKind, Profile};

pub(crate) mod split;

/// The most rows that a workgroup does, on a device of which nothing is known.
pub(crate) const MOST: u64 = 16;
/// The longest row that such a device holds in registers.
pub(crate) const REACH: u64 = 4 * HELD_GPU * INVOCATIONS;
/// The most groups of four of a row that an invocation holds. On processors registers are memory anyway, and
/// what counts is that a team is no more than one subgroup; but where subgroups are short, as SwiftShader's,
/// long texts take seconds to compile.
const HELD_CPU: u64 = 32;
const HELD_SHORT: u64 = 8;
const HELD_GPU: u64 = 8;
/// A workgroup of a single subgroup takes so long to start that it had better do several rows.
const TURNS_CPU: u64 = 16;
/// Subgroups that are long enough for a team.
const LONG_SUBGROUP: u32 = 8;
/// The largest subgroup whose lanes hand each other rows.
const HANDING: u64 = 16;
/// The most invocations in a workgroup that every device grants.
const INVOCATIONS: u64 = 256;

/// How rows are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rows {
    /// Invocations of a team.
    lanes: u64,
    /// Teams of a workgroup.
    teams: u64,
    /// Rows that a team does one after the other.
    turns: u64,
    /// Groups of four that an invocation holds.
    held: u64,
}

fn rows(s: &Site<'_>, along: Axis) -> Rows {
    share((s.size(along) as u64).div_ceil(4).max(1), s.profile)
}

/// The size of the device's subgroups, if they are of one; else 0.
pub(super) fn subgroup(profile: &Profile) -> u64 {
    let (least, most) = profile.subgroup_sizes;
    if profile.features.subgroup && least == most { u64::from(least) } else { 0 }
}

/// Whether a workgroup of 64 is whole subgroups, as every driver known makes them, and each of those whole fours;
/// and whether that is of use: on a processor a barrier costs next to nothing.
pub(crate) fn has_quads(profile: &Profile) -> bool {
    let size = subgroup(profile);
    profile.kind != DeviceKind::Cpu && (4..=64).contains(&size) && size.is_power_of_two()
}

/// The size of subgroups, where lanes had better hand each other what they loaded than load the same. Measured on
/// processors, whose subgroups are this small; on a GPU with such subgroups nobody measured it.
pub(crate) fn handing(profile: &Profile) -> Option<u64> {
    Some(subgroup(profile)).filter(|size| (4..=HANDING).contains(size) && size.is_power_of_two())
}

/// Rows of so many groups of four.
fn share(groups: u64, profile: &Profile) -> Rows {
    let fixed = subgroup(profile);
    if profile.kind == DeviceKind::Cpu {
        let known = fixed >= u64::from(LONG_SUBGROUP);
        let lanes = if known { fixed } else { 8 };
        let held = groups.div_ceil(lanes).min(if known { HELD_CPU } else { HELD_SHORT });
        // Long rows may be few, and each is worth a workgroup.
        let turns = if groups > lanes * held { 1 } else { TURNS_CPU };
        return Rows { lanes, teams: 1, turns, held };
    }
    // A subgroup needs no barrier; where rows are too long for one, a workgroup does.
    if fixed > 1 && groups > fixed && groups <= fixed * HELD_GPU {
        return Rows { lanes: fixed, teams: 1, turns: 1, held: groups.div_ceil(fixed) };
    }
    let lanes = if groups <= 64 { groups.next_power_of_two() } else { (groups / 4).next_power_of_two() };
    let lanes = lanes.clamp(4, INVOCATIONS);
    let teams = (64 / lanes).max(1);
    Rows { lanes, teams, turns: 1, held: groups.div_ceil(lanes).min(HELD_GPU) }
}

/// Whether a team is a whole workgroup and a whole subgroup, and can do without workgroup memory.
pub(crate) fn by_subgroup(s: &Site<'_>) -> bool {
    let rows = rows(s, Axis::C);
    rows.teams == 1 && rows.lanes == subgroup(s.profile)
}

/// The knobs of a kernel that goes along an axis.
pub(crate) fn knobs(s: &Site<'_>, along: Axis) -> Vec<(&'static str, String)> {
    let Rows { lanes, teams, turns, held } = rows(s, along);
    // A size known only at the call may be any that is less.
    let whole = s.dim(along).constant().map_or(0, |n| (n / 4 / lanes).min(held));
    [("LANES", lanes), ("TEAMS", teams), ("TURNS", turns), ("HELD", held), ("WHOLE", whole)]
        .map(|(name, n)| (name, format!("{n}u")))
        .into()
}

/// The workgroups of a kernel with all of these knobs.
pub(crate) fn workgroups(s: &Site<'_>, along: Axis) -> Expr {
    let Rows { teams, turns, .. } = rows(s, along);
    Expr::from(s.dim(R)).ceil_div(teams * turns)
}

/// The knobs of a kernel that holds nothing, and does one row after the other in no team.
pub(crate) fn knobs_apart(s: &Site<'_>, along: Axis) -> Vec<(&'static str, String)> {
    let all = knobs(s, along).into_iter();
    all.filter(|(name, _)| ["LANES", "TEAMS"].contains(name)).collect()
}

/// Its workgroups.
pub(crate) fn workgroups_apart(s: &Site<'_>, along: Axis) -> Expr {
    Expr::from(s.dim(R)).ceil_div(rows(s, along).teams)
}

/// Sizes with which a kernel needs more than 65,535 workgroups.
pub(crate) fn many_workgroups(kernel: &Kernel) -> Option<Sizes> {
    let rows = if !kernel.first.is_empty() { split::MANY } else { MOST };
    Some(Sizes::new(&[(R, past_one_axis(rows)), (C, 3)]))
}

/// The invocations of either.
pub(crate) fn invocations(s: &Site<'_>, along: Axis) -> f64 {
    let Rows { lanes, turns, .. } = rows(s, along);
    (s.sizes.product(&[R]) / turns as f64).max(1.0) * lanes as f64
}

/// The part of a row that nobody holds, and that is read again each time, from a cache if there is one.
pub(crate) fn again(s: &Site<'_>, along: Axis) -> f64 {
    let Rows { lanes, held, .. } = rows(s, along);
    let groups = (s.size(along) as u64).div_ceil(4).max(1);
    groups.saturating_sub(lanes * held) as f64 / groups as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_can_do_every_length() {
        for kind in [DeviceKind::Cpu, DeviceKind::Discrete] {
            for size in [0, 4, 8, 16, 32, 64, 128] {
                let mut profile = Profile { kind, subgroup_sizes: (size, size), ..Profile::portable() };
                profile.features.subgroup = size > 0;
                for groups in [1, 2, 3, 17, 64, 65, 255, 256, 257, 2048, 2049, 1 << 20] {
                    let rows = share(groups, &profile);
                    let said = format!("{kind:?} {size} {groups}: {rows:?}");
                    assert!(rows.lanes.is_power_of_two() && rows.lanes * rows.teams <= INVOCATIONS, "{said}");
                    assert!((1..=HELD_CPU).contains(&rows.held) && rows.teams * rows.turns <= MOST, "{said}");
                    assert!(rows.lanes * (rows.held - 1) < groups, "{said}: holds what is not there");
                }
            }
        }
    }

    #[test]
    fn rows_are_shared_out_as_measured() {
        let mut profile = Profile { kind: DeviceKind::Cpu, subgroup_sizes: (8, 8), ..Profile::portable() };
        let of = |lanes, teams, turns, held| Rows { lanes, teams, turns, held };
        assert_eq!(share(256, &profile), of(8, 1, 1, 8), "subgroups that nobody may use");
        profile.features.subgroup = true;
        assert_eq!(share(256, &profile), of(8, 1, 16, 32));
        assert_eq!(share(16384, &profile), of(8, 1, 1, 32));
        assert_eq!(share(256, &Profile::portable()), of(64, 1, 1, 4));
        assert_eq!(share(16, &Profile::portable()), of(16, 4, 1, 1));
        assert_eq!(share(256, &Profile::capable()), of(32, 1, 1, 8));
    }
}

//! How the state of a recurrence is shared out: what is summed along lies in the lanes of a team, and what does
//! not meet is other teams' and other workgroups'.

use crate::profile::DeviceKind;

/// Invocations of a workgroup, at most.
pub(crate) const BLOCK: u64 = 64;
/// The least invocations of a team, and the most.
pub(crate) const LANES: (u64, u64) = (4, 64);

/// What an invocation could compute, in operations, while it waits at a barrier, and behind that for what it loads
/// there: a hundred cycles.
pub(crate) const WAIT: f64 = 200.0;

/// Who has what of one head's state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Teams {
    /// Invocations of a team, a power of two: each has every so many-th group.
    pub lanes: u64,
    /// Groups that an invocation has.
    pub held: u64,
    /// Invocations of a workgroup.
    pub size: u64,
    /// Workgroups of a head, whose teams have four sums each.
    pub blocks: u64,
}

impl Teams {
    /// Sums along `along` elements, `across` of them side by side, of which an invocation has at most `held`
    /// groups unless even the largest team is too small.
    pub fn new(along: usize, across: usize, held: u64) -> Self {
        let groups = (along as u64).div_ceil(4).max(1);
        let lanes = groups.div_ceil(held).next_power_of_two().clamp(LANES.0, LANES.1);
        let blocks = (across as u64).div_ceil(4).div_ceil(BLOCK / lanes);
        Self { lanes, held: groups.div_ceil(lanes), size: BLOCK, blocks }
    }

    /// Those of a state that is walked with; an invocation has at most so many groups, other than on processors
    /// and on those. There no sum as wide as they are in models need be shared (see benches/log.md), and an
    /// invocation without sums is in the others' way.
    pub fn walking(kind: DeviceKind, along: usize, across: usize, [held, alone]: [u64; 2]) -> Self {
        if kind != DeviceKind::Cpu {
            return Self::new(along, across, held);
        }
        let (groups, fours) = ((along as u64).div_ceil(4).max(1), (across as u64).div_ceil(4));
        let lanes = groups.div_ceil(alone).next_power_of_two().min(LANES.1);
        let teams = fours.next_power_of_two().min(BLOCK / lanes);
        Self { lanes, held: groups.div_ceil(lanes), size: lanes * teams, blocks: fours.div_ceil(teams) }
    }

    /// Those of a state that takes so many positions at a time: no more than there are sums for, but an invocation
    /// for each position and group.
    pub fn in_chunks(along: usize, across: usize, held: u64, positions: usize) -> Self {
        let (of, fours) = (Self::new(along, across, held), (across as u64).div_ceil(4));
        let teams = fours.next_power_of_two().max(positions as u64 * of.held).min(BLOCK / of.lanes);
        Self { size: of.lanes * teams, blocks: fours.div_ceil(teams), ..of }
    }

    /// What every kernel is told that has a state in teams.
    pub fn knobs(&self) -> Vec<(&'static str, String)> {
        let Self { lanes, size, held, .. } = *self;
        let knobs = [("LANES", lanes), ("TEAMS", size / lanes), ("SIZE", size), ("HELD", held)];
        knobs.into_iter().chain([("ROWS", 4 * held)]).map(|(name, n)| (name, format!("{n}u"))).collect()
    }
}

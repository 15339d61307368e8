//! How the state of a recurrence is shared out: what is summed along lies in the lanes of a team, and what does
//! not meet is other teams' and other workgroups'.

/// Invocations of a workgroup.
pub(crate) const BLOCK: u64 = 64;
/// The least invocations of a team, and the most.
pub(crate) const LANES: (u64, u64) = (4, 64);

/// Who has what of one head's state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Teams {
    /// Invocations of a team, a power of two: each has every so many-th group.
    pub lanes: u64,
    /// Groups that an invocation has.
    pub held: u64,
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
        Self { lanes, held: groups.div_ceil(lanes), blocks }
    }
}

//! How kernels that go element by element share their work out: one place for all of them.
//!
//! Where a workgroup takes long to start and masks and divisions cost as much as loads, as on processors with
//! subgroups that are long enough, neighbours walk along a part of a row. Elsewhere each invocation does
//! one group of four, wherever that is. An element's bits depend on nothing of this.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::kernel::{Chain, Link, Site};
use crate::op::Axis::{C, R};
use crate::op::{Binary, Unary};
use crate::ops::{by_groups, rows::subgroup};
use crate::profile::{DeviceKind, Profile};

/// Invocations of a workgroup that walks along rows: a subgroup.
const LANES: u64 = 8;
/// The shortest rows to walk along, in groups of four: a workgroup's start must pay.
const LONG: u64 = 64;
/// How many groups of four an invocation does, at most and at least; in between, so many by the length of the
/// chain's text, which is written out for each.
const SPAN: std::ops::RangeInclusive<u64> = 4..=32;
const TEXT: u64 = 64;

/// What packing and unpacking adds to the length of a text.
const PACKED: u64 = 3;

/// How rows are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    /// Parts of a row, a workgroup each.
    parts: u64,
    /// Groups of four of a part for each invocation, at most.
    span: u64,
    /// And at least, in every part of a row of the largest size.
    each: u64,
}

fn parts(s: &Site<'_>) -> Option<Parts> {
    let is_packed = s.args.iter().any(|a| !matches!(a.dtype, DType::F32 | DType::U32));
    let weight = weight(s.post) + if is_packed { PACKED } else { 0 };
    share((s.size(C) as u64).div_ceil(4), weight, s.profile)
}

/// How long a chain's text is, in functions that are no more than an instruction or two.
fn weight(chain: &Chain) -> u64 {
    let of = |link: &Link| match link {
        Link::Unary(f, _) => match f {
            Unary::Gelu | Unary::GeluTanh | Unary::Silu | Unary::Sigmoid | Unary::Tanh => 4,
            Unary::Softplus | Unary::Exp | Unary::Log | Unary::Erf | Unary::Elu => 4,
            _ => 1,
        },
        Link::Binary { op: Binary::Pow, .. } => 4,
        Link::Binary { .. } => 1,
    };
    chain.iter().map(of).sum::<u64>().max(1)
}

/// Rows of so many groups of four; `None` where invocations do one each.
fn share(groups: u64, weight: u64, profile: &Profile) -> Option<Parts> {
    if profile.kind != DeviceKind::Cpu || subgroup(profile) < LANES || groups < LONG {
        return None;
    }
    let most = (TEXT / weight).clamp(*SPAN.start(), *SPAN.end());
    let span = groups.div_ceil(LANES * groups.div_ceil(LANES * most));
    let parts = groups.div_ceil(LANES * span);
    Some(Parts { parts, span, each: (groups - (parts - 1) * LANES * span) / LANES })
}

/// The knobs of such a kernel.
pub(crate) fn knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let Some(Parts { parts, span, each }) = parts(s) else { return Vec::new() };
    // A size known only at the call may be any that is less.
    let each = if s.dim(C).constant().is_some() { each } else { 0 };
    let numbers = [("LANES", LANES), ("PARTS", parts), ("EACH", each), ("REST", span - each)];
    let numbers = numbers.map(|(name, n)| (name, format!("{n}u")));
    [("FLAT", "false".to_owned())].into_iter().chain(numbers).collect()
}

/// Its workgroups.
pub(crate) fn workgroups(s: &Site<'_>) -> Expr {
    match parts(s) {
        Some(Parts { parts, .. }) => Expr::Mul(vec![s.dim(R).into(), Expr::from(Dim::from(parts))]),
        None => by_groups(s),
    }
}

/// Its invocations.
pub(crate) fn invocations(s: &Site<'_>) -> f64 {
    match parts(s) {
        Some(Parts { parts, .. }) => s.sizes.product(&[R]) * (LANES * parts) as f64,
        None => s.sizes.product(&[R, C]) / 4.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(subgroup: u32) -> Profile {
        let subgroup_sizes = (subgroup, subgroup);
        let mut profile = Profile { kind: DeviceKind::Cpu, subgroup_sizes, ..Profile::portable() };
        profile.features.subgroup = true;
        profile
    }

    #[test]
    fn every_row_is_shared_out_whole() {
        for groups in [64, 65, 71, 255, 256, 257, 2049, 16383, 1 << 20] {
            for weight in [1, 2, 5, 40] {
                let all = share(groups, weight, &processor(8)).unwrap();
                let Parts { parts, span, each } = all;
                let said = format!("{groups} {weight}: {all:?}");
                assert!(LANES * span * parts >= groups, "{said}: leaves some out");
                let last = groups - LANES * span * (parts - 1);
                assert!(each <= span && LANES * each <= last, "{said}: does what is not there");
            }
        }
    }

    #[test]
    fn rows_are_shared_out_as_measured() {
        let of = |parts, span, each| Some(Parts { parts, span, each });
        assert_eq!(share(256, 1, &processor(8)), of(1, 32, 32));
        assert_eq!(share(256, 4, &processor(8)), of(2, 16, 16));
        assert_eq!(share(257, 1, &processor(8)), of(2, 17, 15));
        assert_eq!(share(63, 1, &processor(8)), None);
        assert_eq!(share(256, 1, &processor(4)), None);
        assert_eq!(share(256, 1, &Profile::portable()), None);
    }
}

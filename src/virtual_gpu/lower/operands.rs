//! Which registers an instruction reads and writes.

use super::super::program::{Op, Reg};

/// What an instruction does with a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Read,
    Write,
    /// The first of registers of which indices find some.
    Base,
}

/// Both visitors by one text: what differs is whether registers can be changed.
macro_rules! visitor {
    ($(#[$doc:meta])* $name:ident, $memory:ident $(, $m:tt)?) => {
        $(#[$doc])*
        pub(super) fn $name(op: &$($m)? Op, f: &mut impl FnMut(&$($m)? Reg, Role)) {
            match op {
                Op::Copy { dst, src: a } | Op::Unary { dst, a, .. } | Op::Convert { dst, a, .. } => {
                    f(a, Role::Read);
                    f(dst, Role::Write);
                }
                Op::Binary { dst, a, b, .. } => {
                    f(a, Role::Read);
                    f(b, Role::Read);
                    f(dst, Role::Write);
                }
                Op::Ternary { dst, a, b, c, .. } | Op::Select { dst, condition: a, accept: b, reject: c } => {
                    f(a, Role::Read);
                    f(b, Role::Read);
                    f(c, Role::Read);
                    f(dst, Role::Write);
                }
                Op::Pack { dst, args, .. } => {
                    args.into_iter().for_each(|r| f(r, Role::Read));
                    dst.into_iter().for_each(|r| f(r, Role::Write));
                }
                Op::Dot { dst, a, b, .. } => {
                    a.into_iter().chain(b).for_each(|r| f(r, Role::Read));
                    f(dst, Role::Write);
                }
                Op::LoadVar { dst, base, terms, .. } => {
                    terms.into_iter().for_each(|t| f(&$($m)? t.index, Role::Read));
                    f(base, Role::Base);
                    dst.into_iter().for_each(|r| f(r, Role::Write));
                }
                Op::StoreVar { src, base, terms, .. } => {
                    terms.into_iter().for_each(|t| f(&$($m)? t.index, Role::Read));
                    src.into_iter().for_each(|r| f(r, Role::Read));
                    f(base, Role::Base);
                }
                Op::ArrayLength { dst, .. } => f(dst, Role::Write),
                Op::Barrier { .. } => {}
                Op::Load { .. }
                | Op::UniformLoad { .. }
                | Op::Store { .. }
                | Op::Atomic { .. }
                | Op::CoopLoad { .. }
                | Op::CoopStore { .. } => $memory(op, f),
                Op::Subgroup { dst, a, arg, .. } => {
                    f(a, Role::Read);
                    arg.into_iter().for_each(|r| f(r, Role::Read));
                    f(dst, Role::Write);
                }
                Op::Ballot { dst, predicate } => {
                    predicate.into_iter().for_each(|r| f(r, Role::Read));
                    dst.into_iter().for_each(|r| f(r, Role::Write));
                }
                Op::CoopMultiplyAdd { dst, a, b, c, .. } => {
                    a.into_iter().chain(b).chain(c).for_each(|r| f(r, Role::Read));
                    dst.into_iter().for_each(|r| f(r, Role::Write));
                }
            }
        }

        /// Of what reads and writes memory.
        fn $memory(op: &$($m)? Op, f: &mut impl FnMut(&$($m)? Reg, Role)) {
            let at = match op {
                Op::Load { at, parts } | Op::UniformLoad { at, parts } => {
                    parts.into_iter().for_each(|p| f(&$($m)? p.reg, Role::Write));
                    at
                }
                Op::Store { at, parts } => {
                    parts.into_iter().for_each(|p| f(&$($m)? p.reg, Role::Read));
                    at
                }
                Op::Atomic { at, dst, args, .. } => {
                    args.into_iter().for_each(|r| f(r, Role::Read));
                    dst.into_iter().for_each(|r| f(r, Role::Write));
                    at
                }
                Op::CoopLoad { at, stride, dst, .. } => {
                    f(stride, Role::Read);
                    dst.into_iter().for_each(|r| f(r, Role::Write));
                    at
                }
                Op::CoopStore { at, stride, src, .. } => {
                    f(stride, Role::Read);
                    src.into_iter().for_each(|r| f(r, Role::Read));
                    at
                }
                _ => return,
            };
            for term in &$($m)? at.terms {
                f(&$($m)? term.index, Role::Read);
            }
        }
    };
}

visitor! {
    /// Calls `f` with every register of an instruction; reads of addresses come last.
    visit, visit_memory
}

visitor! {
    /// [`visit`], and registers can be exchanged.
    visit_mut, visit_memory_mut, mut
}

/// Whether the destination may be one of the operands: a lane's result depends on that lane alone and is
/// written when its operands have been read.
pub(super) fn in_place(op: &Op) -> bool {
    matches!(
        op,
        Op::Copy { .. }
            | Op::Unary { .. }
            | Op::Binary { .. }
            | Op::Ternary { .. }
            | Op::Select { .. }
            | Op::Convert { .. }
    )
}

/// Whether an instruction does nothing but give its destinations values, so that it can be left out.
/// Loads are not: they may find something.
pub(super) fn is_pure(op: &Op) -> bool {
    in_place(op)
        || matches!(
            op,
            Op::Pack { .. } | Op::Dot { .. } | Op::ArrayLength { .. } | Op::CoopMultiplyAdd { .. }
        )
}

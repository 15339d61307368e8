//! Which values of the graph a step reads and leaves, and how much it moves.

use super::layout;
use crate::dim::{Dim, ScalarSpec};
use crate::dtype::DType;
use crate::kernel::Layout;
use crate::op::Axis;
use crate::plan::buffers::Buffers;
use crate::plan::draft::{Origin, Program, View};
use crate::plan::place::{Home, Placed, PlacedArg};
use crate::plan::strides;

/// The graph's values that a step reads, by index, of the tensors that `binds` says, by name.
pub(super) fn reads(program: &Program<'_>, placed: &Placed, binds: impl Fn(&str) -> bool) -> Vec<usize> {
    let count = program.graph.values().len();
    let of_graph = |v: usize| if v < count { vec![v] } else { program.vals[v].holds.clone() };
    let draft = &placed.draft;
    let inputs = draft.op.inputs.iter().zip(&draft.inputs);
    let inputs = inputs.filter(|(arg, _)| binds(arg.name)).filter_map(|(_, u)| Some(u.as_ref()?.value));
    let chains = [("pre", &draft.pre), ("post", &draft.post)].into_iter().flat_map(|(hook, chain)| {
        let others = chain.iter().filter_map(|j| j.other);
        others.enumerate().map(move |(i, v)| (format!("{hook}{i}"), v))
    });
    let chains = chains.filter(|(name, _)| binds(name)).map(|(_, v)| v);
    let mut out: Vec<_> = inputs.chain(chains).flat_map(of_graph).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// The graph's values that a step leaves: its results, or what is a slice of them. What it makes a part of is
/// there after the last part.
pub(super) fn writes(
    program: &Program<'_>,
    placed: &Placed,
    buffers: &Buffers,
) -> Vec<(usize, usize, Layout)> {
    let mut out = Vec::new();
    if placed.draft.unfinished {
        return out;
    }
    for (v, state) in &placed.changes {
        let val = &program.vals[*v];
        let normal = strides::normal(val.dtype, &val.shape, program.graph.scalars());
        out.push((*v, buffers.of(Home::Value(*state)), layout(&normal)));
    }
    for made in placed.makes.iter().copied() {
        let val = &program.vals[made];
        let normal = strides::normal(val.dtype, &val.shape, program.graph.scalars());
        for v in &val.holds {
            let lay = match program.vals[*v].origin {
                Origin::View(parent, View::Slice { axis, start }) if parent == made => {
                    strides::slice(&normal, axis, start)
                }
                _ => None,
            };
            out.push((*v, buffers.of(Home::Value(made)), layout(lay.as_ref().unwrap_or(&normal))));
        }
    }
    out
}

/// Bytes of every tensor that a step binds, at the bounds. Of a table, only as many rows as are
/// asked for.
pub(super) fn bytes(program: &Program<'_>, placed: &Placed) -> u64 {
    let scalars: &[ScalarSpec] = program.graph.scalars();
    let size = |dtype: DType, shape: &[Dim]| {
        let n = shape.iter().fold(1u64, |p, d| p.saturating_mul(d.max(scalars)));
        (n / dtype.block() as u64).saturating_mul(dtype.block_bytes() as u64)
    };
    let of = |a: &PlacedArg| size(a.site.dtype, &a.site.shape);
    let made: u64 = placed.args.iter().filter(|a| a.write).map(of).fold(0, u64::saturating_add);
    let is_table = |a: &PlacedArg| a.fold.iter().any(|(axis, _)| *axis == Axis::V);
    let read = |a: &PlacedArg| if is_table(a) { of(a).min(made) } else { of(a) };
    let args = placed.args.iter().filter(|a| !a.write).map(read);
    let chains = placed.draft.pre.iter().chain(&placed.draft.post).filter_map(|j| j.other);
    let others = chains.map(|v| size(program.vals[v].dtype, &program.vals[v].shape));
    args.chain(others).fold(made, u64::saturating_add)
}

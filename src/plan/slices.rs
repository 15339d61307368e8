//! Products by slices, where rows are many: each slice's becomes a matmul of its own, which has kernels for that.
//!
//! They write their columns of the same value, as the pieces of a weight do that is too large for a binding.

use crate::dim::Dim;
use crate::kernel::Link;
use crate::op::{Axes, Axis};
use crate::ops::matmul::{MATMUL, MATMUL_SLICES, slices_of};
use crate::plan::cut::{columns_of, is_cut, post_of, rows_of};
use crate::plan::draft::{Draft, Joined, Origin, Program, Use, View};
use crate::plan::{Determinism, Policy};
use crate::profile::Profile;

/// The most rows for which reading all weights once for a few rows each is worth a single dispatch.
const FEW: u64 = 16;

/// Takes apart what has many rows, or a weight that no binding holds.
pub(super) fn part(program: &mut Program<'_>, profile: &Profile, policy: &Policy) {
    let mut at = 0;
    while at < program.drafts.len() {
        let draft = &program.drafts[at];
        let rows = draft.axes.get(Axis::M).max(program.graph.scalars());
        // What must not depend on how many rows there are is done in one way, and what is asked for is done.
        let asked =
            policy.kernel.as_ref().is_some_and(|name| MATMUL_SLICES.kernels.iter().any(|k| k.name == *name));
        let many = rows > FEW && !asked && policy.determinism != Determinism::BatchInvariant;
        if draft.op != &MATMUL_SLICES || !(many || is_cut(program, draft, 1, profile, policy)) {
            at += 1;
            continue;
        }
        let pieces = pieces(program, at, rows);
        let next = at + pieces.len();
        program.drafts.splice(at..=at, pieces);
        at = next;
    }
}

/// The matmuls that a draft becomes; itself, if its weight cannot be taken apart.
fn pieces(program: &mut Program<'_>, at: usize, rows: u64) -> Vec<Draft> {
    let whole = program.drafts[at].clone();
    let [Some(x), Some(w)] = whole.inputs.as_slice() else { return vec![whole] };
    if !matches!(program.vals[w.value].origin, Origin::Weight(_, None)) {
        return vec![whole];
    }
    let (mut out, mut start) = (Vec::new(), 0);
    for (i, (end, act)) in slices_of(&whole.attrs).into_iter().enumerate() {
        let range = start..end;
        start = end;
        if range.is_empty() {
            continue;
        }
        let mut piece = whole.clone();
        (piece.op, piece.attrs) = (&MATMUL, Vec::new());
        let mut slice = program.vals[x.value].clone();
        slice.shape[0] = Dim::ONE;
        slice.origin = Origin::View(x.value, View::Slice { axis: 0, start: i as u64 });
        let fold = vec![(Axis::M, slice.shape.len() - 1), (Axis::K, 1)];
        let own = Use { value: program.push(slice), fold };
        let rows_of_w = Use { value: rows_of(program, w.value, &range), fold: w.fold.clone() };
        piece.inputs = vec![Some(own), Some(rows_of_w), None, None];
        let n = Dim::from(range.end - range.start);
        piece.axes = Axes::new(&[Axis::B, Axis::M, Axis::N, Axis::K].map(|a| match a {
            Axis::B => (a, Dim::ONE),
            Axis::N => (a, n.clone()),
            _ => (a, whole.axes.get(a)),
        }));
        piece.outputs[0].value = columns_of(program, whole.outputs[0].value, &range, false);
        post_of(program, &mut piece, &range);
        let act = act.map(|f| Joined { link: Link::Unary(f, [None, None]), other: None });
        piece.post.splice(0..0, act);
        piece.fused.push(format!(
            "columns {}..{} of a product by slices, which has {rows} rows: up to {FEW} would be one step",
            range.start, range.end
        ));
        out.push(piece);
    }
    // What the step does is done when the last piece is.
    if let Some((_, earlier)) = out.split_last_mut() {
        for piece in earlier {
            piece.nodes.clear();
            piece.unfinished = true;
        }
    }
    if out.is_empty() { vec![whole] } else { out }
}

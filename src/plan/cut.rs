//! Weights that are larger than a kernel may bind: they are cut into pieces that lie in buffers of their own, and
//! each piece is a step of its own, which makes its part of the same result.
//!
//! The `w [N, K]` of a matmul is cut by N, where its panels end, and each step writes some columns of `y`. The
//! table of an `embed` is cut by rows, and each step writes the rows of `y` that its piece has.

use std::ops::Range;

use crate::dim::Dim;
use crate::dtype::DType;
use crate::kernel::{Link, Side};
use crate::op::{Axes, Axis};
use crate::ops::embed::EMBED;
use crate::ops::matmul::MATMUL;
use crate::plan::draft::{Draft, Origin, Program, Use, Val, View};
use crate::plan::prepare::{PANEL, form_bytes};
use crate::plan::{Policy, WeightForm};
use crate::profile::Profile;

/// The most pieces of a weight: of 128 MiB each they are more than any device holds.
const MOST: u64 = 1024;

/// Cuts every weight that is too large and can be cut; of the others, placing them says what is wrong.
pub(super) fn cut(program: &mut Program<'_>, profile: &Profile, policy: &Policy) {
    let limit = profile.limits.storage_binding_bytes.min(profile.limits.buffer_bytes);
    let limit = policy.weight_bytes.map_or(limit, |bytes| bytes.min(limit));
    let mut at = 0;
    while at < program.drafts.len() {
        // Once more from its first piece: an embed may have several tables.
        match too_large(program, &program.drafts[at], limit) {
            Some(found) => {
                let pieces = pieces(program, at, &found, limit);
                program.drafts.splice(at..=at, pieces);
            }
            None => at += 1,
        }
    }
}

/// A weight that must be cut.
struct Found {
    /// Which input of the draft it is.
    input: usize,
    /// The axis of its rows.
    axis: Axis,
    /// How many rows it has, and how many make a piece.
    rows: u64,
    each: u64,
    /// How large it is.
    bytes: u64,
}

/// The first input of a draft that is a weight too large for a binding, and that can be cut.
fn too_large(program: &Program<'_>, draft: &Draft, limit: u64) -> Option<Found> {
    let found = |(input, used): (usize, &Option<Use>)| {
        let used = used.as_ref()?;
        let axis = match used.fold.as_slice() {
            [(Axis::N, 1), (Axis::K, 1)] if draft.op == &MATMUL && input == 1 => Axis::N,
            [(Axis::V, 1), (Axis::C, 1)] if draft.op == &EMBED => Axis::V,
            _ => return None,
        };
        let val = &program.vals[used.value];
        let Origin::Weight(_, None) = val.origin else { return None };
        let [rows, width] = [val.shape.first()?.constant()?, val.shape.last()?.constant()?];
        let bytes = |rows| bytes(val.dtype, axis, rows, width);
        let each = rows_of_a_piece(rows, limit, bytes)?;
        let suits = axis == Axis::V
            || draft.post.iter().all(|j| j.other.is_none_or(|o| suits(program, o, rows)))
                && draft.inputs[2..].iter().flatten().all(|plane| goes_along(program, plane));
        suits.then(|| Found { input, axis, rows, each, bytes: bytes(rows) })
    };
    draft.inputs.iter().enumerate().find_map(found)
}

/// Whether scales or zero points can be cut with their weight: weights themselves, or the same for all columns.
fn goes_along(program: &Program<'_>, plane: &Use) -> bool {
    let by_column = plane.fold.first().is_some_and(|f| f.0 == Axis::N);
    !by_column || matches!(program.vals[plane.value].origin, Origin::Weight(_, None))
}

/// Whether the operand of a chain over so many columns can be cut with them.
fn suits(program: &Program<'_>, operand: usize, columns: u64) -> bool {
    program.vals[operand].shape.last().and_then(Dim::constant) == Some(columns)
}

/// The bytes of the largest of the buffers that so many rows of a weight take.
fn bytes(dtype: DType, axis: Axis, rows: u64, width: u64) -> u64 {
    let shape = [rows, width].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let of = |form| form_bytes(form, dtype, &shape).unwrap_or(0);
    if axis == Axis::V && dtype.block() == 1 {
        return of(WeightForm::Rows);
    }
    let scales = if dtype.is_blocks() { of(WeightForm::BlockScales) } else { 0 };
    of(WeightForm::Panels).max(scales)
}

/// How many rows a piece has, so that all are about as large and each fits: whole panels, or of less than one as
/// many as are whole groups of four in a row of `y`. `None` if all fit as they are, if no four do, or if there
/// were too many pieces.
fn rows_of_a_piece(rows: u64, limit: u64, bytes: impl Fn(u64) -> u64) -> Option<u64> {
    if bytes(rows) <= limit {
        return None;
    }
    let of_unit = |unit: u64| {
        let fit = (limit / bytes(unit)).checked_mul(unit).filter(|fit| *fit > 0)?;
        let pieces = rows.div_ceil(fit);
        (pieces <= MOST).then(|| rows.div_ceil(pieces).next_multiple_of(unit))
    };
    if bytes(PANEL) <= limit { of_unit(PANEL) } else { of_unit(4) }
}

/// The steps that a draft becomes.
fn pieces(program: &mut Program<'_>, at: usize, found: &Found, limit: u64) -> Vec<Draft> {
    let Found { axis, rows, each, .. } = *found;
    let whole = program.drafts[at].clone();
    let mut out = Vec::new();
    let mut start = 0;
    while start < rows {
        let range = start..(start + each).min(rows);
        start = range.end;
        out.push(piece(program, &whole, found, range, limit));
    }
    // What the step does is done when the last piece is.
    if let Some((_, earlier)) = out.split_last_mut() {
        for piece in earlier {
            piece.nodes.clear();
            piece.unfinished = true;
        }
    }
    debug_assert!(out.len() > 1, "{axis:?}: {rows} rows in pieces of {each}");
    out
}

/// The step of some rows of the weight.
fn piece(program: &mut Program<'_>, whole: &Draft, found: &Found, range: Range<u64>, limit: u64) -> Draft {
    let mut piece = whole.clone();
    let is_matmul = found.axis == Axis::N;
    for (i, used) in piece.inputs.iter_mut().enumerate().skip(1) {
        // With the rows of `w` go those of its scales and zero points.
        let goes = i == found.input || is_matmul;
        if let Some(used) =
            used.as_mut().filter(|u| goes && u.fold.first().is_some_and(|f| f.0 == found.axis))
        {
            used.value = rows_of(program, used.value, &range);
        }
    }
    if is_matmul || found.input == 1 {
        let size = Dim::from(range.end - range.start);
        let cut =
            |(axis, dim): (Axis, &Dim)| (axis, if axis == found.axis { size.clone() } else { dim.clone() });
        piece.axes = Axes::new(&whole.axes.iter().map(cut).collect::<Vec<_>>());
    }
    if is_matmul {
        piece.outputs[0].value = columns_of(program, whole.outputs[0].value, &range, false);
        post_of(program, &mut piece, &range);
    }
    let weight = whole.inputs[found.input].as_ref().map_or("", |u| program.vals[u.value].name.as_str());
    piece.fused.push(format!(
        "rows {}..{} of the {} of `{weight}`, which takes {} bytes where a step may bind {limit}: the other rows \
         are steps beside this one",
        range.start, range.end, found.rows, found.bytes
    ));
    piece
}

/// Whether a draft's weight is larger than a binding.
pub(super) fn is_cut(
    program: &Program<'_>,
    draft: &Draft,
    input: usize,
    profile: &Profile,
    policy: &Policy,
) -> bool {
    let limit = profile.limits.storage_binding_bytes.min(profile.limits.buffer_bytes);
    let limit = policy.weight_bytes.map_or(limit, |bytes| bytes.min(limit));
    let Some(used) = &draft.inputs[input] else { return false };
    let val = &program.vals[used.value];
    match [val.shape.first(), val.shape.last()].map(|d| d.and_then(Dim::constant)) {
        [Some(rows), Some(width)] => bytes(val.dtype, Axis::N, rows, width) > limit,
        _ => false,
    }
}

/// Leaves of what a chain reads the columns that a piece makes.
pub(super) fn post_of(program: &mut Program<'_>, piece: &mut Draft, range: &Range<u64>) {
    for joined in &mut piece.post {
        let is_column = matches!(joined.link, Link::Binary { side: Side::Column, .. });
        joined.other = joined.other.map(|o| if is_column { o } else { columns_of(program, o, range, true) });
    }
}

/// Some rows of a weight, as a weight.
pub(super) fn rows_of(program: &mut Program<'_>, v: usize, range: &Range<u64>) -> usize {
    let mut val = program.vals[v].clone();
    let Origin::Weight(sources, _) = &val.origin else { return v };
    val.origin = Origin::Weight(sources.clone(), Some(range.start as usize..range.end as usize));
    val.shape[0] = Dim::from(range.end - range.start);
    program.push(val)
}

/// Some columns of a value, which is read, or of which this is a part of what is made.
pub(super) fn columns_of(program: &mut Program<'_>, v: usize, range: &Range<u64>, is_read: bool) -> usize {
    let Val { name, dtype, mut shape, holds, .. } = program.vals[v].clone();
    let axis = shape.len() - 1;
    shape[axis] = Dim::from(range.end - range.start);
    let origin = Origin::View(v, View::Slice { axis, start: range.start });
    program.push(Val { name, dtype, shape, origin, holds: if is_read { holds } else { Vec::new() } })
}

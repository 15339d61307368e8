//! Where elements lie: the arithmetic of layouts and views, in elements, over dims of the call.
//!
//! It never copies and never allocates; what strides cannot say is `None`, and the caller copies.

use crate::dim::{Dim, ScalarSpec};
use crate::dtype::DType;
use crate::op::{Axis, Fold};

/// Where a tensor's elements lie over the buffer of its root, in elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lay {
    /// Where the first element lies.
    pub offset: Dim,
    /// Distance between neighbours along each axis of the shape.
    pub strides: Vec<Dim>,
}

const fn element_bytes(dtype: DType) -> u64 {
    dtype.block_bytes() as u64
}

/// Elements to which rows are padded: 16 bytes of floats or int8; indices and blocks are tight.
const fn row_align(dtype: DType) -> u64 {
    match dtype {
        DType::U32 => 1,
        _ if dtype.block() > 1 => 1,
        _ => 16 / element_bytes(dtype),
    }
}

fn is_one(d: &Dim) -> bool {
    d.constant() == Some(1)
}

/// Elements from one row to the next: the last axis, padded; a last axis that each call gives is
/// padded at its bound, so that strides stay fixed.
pub(super) fn row(dtype: DType, shape: &[Dim], scalars: &[ScalarSpec]) -> Dim {
    let last = shape.last().cloned().unwrap_or(Dim::ONE);
    match row_align(dtype) {
        1 => last,
        align => last
            .max(scalars)
            .max(1)
            .checked_next_multiple_of(align)
            .unwrap_or(u64::MAX / align * align)
            .into(),
    }
}

/// How every value lies that has a buffer to itself: padded rows, leading axes tight over them.
pub(super) fn normal(dtype: DType, shape: &[Dim], scalars: &[ScalarSpec]) -> Lay {
    let mut strides = vec![Dim::ONE; shape.len()];
    let mut next = row(dtype, shape, scalars);
    for (stride, size) in strides.iter_mut().zip(shape).rev().skip(1) {
        *stride = next.clone();
        next = next.times(size);
    }
    Lay { offset: 0.into(), strides }
}

/// The bytes of a value that lies normally, at the bounds; a multiple of 16, and at least 16.
pub(super) fn bytes(dtype: DType, shape: &[Dim], scalars: &[ScalarSpec]) -> u64 {
    let leading = shape.split_last().map_or(&[][..], |(_, leading)| leading);
    let rows = leading.iter().fold(1u64, |p, d| p.saturating_mul(d.max(scalars)));
    let elements = row(dtype, shape, scalars).max(scalars).saturating_mul(rows);
    let bytes = elements.saturating_mul(element_bytes(dtype)).max(1);
    bytes.checked_next_multiple_of(16).unwrap_or(u64::MAX - 15)
}

/// The bytes between the first element that any layout of a shape can reach and the last, were none
/// of its sizes 0: while that fits, no stride of it, and of no view of it, overflows.
pub(super) fn reach_bytes(dtype: DType, shape: &[Dim], scalars: &[ScalarSpec]) -> u64 {
    let sizes: Vec<Dim> = shape.iter().map(|d| d.max(scalars).max(1).into()).collect();
    bytes(dtype, &sizes, scalars)
}

/// Whether two layouts of a shape put every element at the same place.
pub(super) fn same(shape: &[Dim], a: &Lay, b: &Lay) -> bool {
    let strides = a.strides.iter().zip(&b.strides).zip(shape);
    a.offset == b.offset && strides.into_iter().all(|((a, b), size)| a == b || is_one(size))
}

/// Elements from `start` on along an axis.
pub(super) fn slice(lay: &Lay, axis: usize, start: u64) -> Option<Lay> {
    let by = lay.strides[axis].times(&start.into());
    let offset = match (lay.offset.constant(), by.constant()) {
        (_, Some(0)) => lay.offset.clone(),
        (Some(0), _) => by,
        (Some(a), Some(b)) => a.checked_add(b)?.into(),
        _ => return None,
    };
    Some(Lay { offset, strides: lay.strides.clone() })
}

/// The same elements with two axes exchanged.
pub(super) fn swap(lay: &Lay, a: usize, b: usize) -> Lay {
    let mut strides = lay.strides.clone();
    strides.swap(a, b);
    Lay { offset: lay.offset.clone(), strides }
}

/// The same elements, again and again along axes that were 1 or were not there.
pub(super) fn expand(shape: &[Dim], lay: &Lay, new: &[Dim]) -> Lay {
    let mut strides = vec![Dim::from(0); new.len()];
    let new_axes = new.len().saturating_sub(shape.len());
    for (i, (size, stride)) in shape.iter().zip(&lay.strides).enumerate() {
        if !is_one(size) || is_one(&new[new_axes + i]) {
            strides[new_axes + i] = stride.clone();
        }
    }
    Lay { offset: lay.offset.clone(), strides }
}

/// The stride over all axes but the last, if they can be walked by one: from each row to the next.
pub(super) fn over_rows(shape: &[Dim], lay: &Lay) -> Option<Dim> {
    let leading = shape.len().saturating_sub(1);
    match merge(&shape[..leading], &lay.strides[..leading]).as_slice() {
        [] => Some(Dim::from(0)),
        [(_, stride)] => Some(stride.clone()),
        _ => None,
    }
}

/// The same elements, in the same order, under another shape.
///
/// Axes of size 1 aside, both shapes are cut wherever the products of their sizes agree; a piece
/// can be read anew if its old axes lie tight over each other.
pub(super) fn reshape(shape: &[Dim], lay: &Lay, new: &[Dim]) -> Option<Lay> {
    let old: Vec<_> = shape.iter().zip(&lay.strides).filter(|(d, _)| !is_one(d)).collect();
    let mut strides = vec![Dim::ONE; new.len()];
    let mut next = new.len();
    let mut end = old.len();
    while end > 0 {
        let mut size = Dim::ONE;
        // the shortest piece of old axes, from the last, that some new axes take up exactly
        let (start, from) = (0..end)
            .rev()
            .find_map(|start| {
                size = size.times(old[start].0);
                let tight = start + 1 == end || *old[start].1 == old[start + 1].1.times(old[start + 1].0);
                if !tight {
                    return Some(Err(()));
                }
                let mut taken = Dim::ONE;
                let from = (0..next).rev().find(|i| {
                    taken = taken.times(&new[*i]);
                    taken == size
                })?;
                Some(Ok((start, from)))
            })?
            .ok()?;
        let mut stride = old[end - 1].1.clone();
        for i in (from..next).rev() {
            strides[i] = stride.clone();
            stride = stride.times(&new[i]);
        }
        (end, next) = (start, from);
    }
    // what is left has size 1, and could lie anywhere
    for i in (0..next).rev() {
        if !is_one(&new[i]) {
            return None;
        }
        strides[i] = strides.get(i + 1).map_or(Dim::ONE, |s| s.times(&new[i + 1]));
    }
    Some(Lay { offset: lay.offset.clone(), strides })
}

/// Axes as few as they can be: those of size 1 left out, those that lie tight over the next joined.
pub(super) fn merge(shape: &[Dim], strides: &[Dim]) -> Vec<(Dim, Dim)> {
    let mut out: Vec<(Dim, Dim)> = Vec::new();
    for (size, stride) in shape.iter().zip(strides).filter(|(d, _)| !is_one(d)) {
        match out.last_mut() {
            Some((before, s)) if *s == stride.times(size) => {
                *before = before.times(size);
                *s = stride.clone();
            }
            _ => out.push((size.clone(), stride.clone())),
        }
    }
    out
}

/// The stride along each axis of an op, in elements, if a kernel can read the tensor where it lies:
/// each axis one stride, groups of four aligned, the last axis contiguous; indices tight.
pub(super) fn along(dtype: DType, shape: &[Dim], lay: &Lay, fold: &Fold) -> Option<Vec<(Axis, Dim)>> {
    let groups = dtype != DType::U32;
    let aligned = |d: &Dim| !groups || d.divided_by(4).is_some();
    let tight = || match merge(shape, &lay.strides).as_slice() {
        [] => true,
        [(_, stride)] => is_one(stride),
        _ => false,
    };
    if lay.offset.constant().is_none() || !aligned(&lay.offset) || !groups && !tight() {
        return None;
    }
    let mut at = 0;
    let mut out = Vec::with_capacity(fold.len());
    for (i, (axis, count)) in fold.iter().enumerate() {
        let merged = merge(&shape[at..at + count], &lay.strides[at..at + count]);
        at += count;
        let last = i + 1 == fold.len();
        let stride = match merged.as_slice() {
            [] if last => Dim::ONE,
            [] => Dim::from(0),
            [(_, stride)] => stride.clone(),
            _ => return None,
        };
        if last && !is_one(&stride) || !last && !aligned(&stride) {
            return None;
        }
        out.push((*axis, stride));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dim::{ScalarId, ScalarKind};

    fn specs() -> Vec<ScalarSpec> {
        let dim = |name: &str, max| ScalarSpec { name: name.into(), kind: ScalarKind::Dim { max } };
        vec![dim("B", 3), dim("S", 5)]
    }

    fn b() -> Dim {
        Dim::var(ScalarId(0))
    }

    fn s() -> Dim {
        Dim::var(ScalarId(1))
    }

    fn dims(sizes: &[u64]) -> Vec<Dim> {
        sizes.iter().map(|n| Dim::from(*n)).collect()
    }

    fn of(sizes: &[u64]) -> Lay {
        normal(DType::F32, &dims(sizes), &[])
    }

    #[test]
    fn rows_are_padded_and_leading_axes_tight_over_them() {
        assert_eq!(of(&[2, 3, 6]).strides, dims(&[24, 8, 1]));
        assert_eq!(normal(DType::F16, &dims(&[3, 9]), &[]).strides, dims(&[16, 1]));
        assert_eq!(normal(DType::U32, &dims(&[3, 9]), &[]).strides, dims(&[9, 1]));
        assert_eq!(normal(DType::F32, &[b(), s()], &specs()).strides, dims(&[8, 1]));
        assert_eq!(normal(DType::F32, &[b(), s(), 6.into()], &specs()).strides[0], s().times(&8.into()));
        assert_eq!(bytes(DType::F32, &[b(), s(), 6.into()], &specs()), 3 * 5 * 8 * 4);
        assert_eq!(bytes(DType::F16, &dims(&[1]), &[]), 16);
        assert_eq!(bytes(DType::F32, &dims(&[0, 4]), &[]), 16);
        assert_eq!(bytes(DType::F32, &dims(&[u64::MAX, u64::MAX]), &[]) % 16, 0);
    }

    #[test]
    fn reshape_splits_and_merges_where_strides_can_say_it() {
        let to = |from: &[u64], to: &[u64]| reshape(&dims(from), &of(from), &dims(to)).map(|l| l.strides);
        assert_eq!(to(&[2, 3, 8], &[6, 8]), Some(dims(&[8, 1])));
        assert_eq!(to(&[6, 8], &[2, 3, 2, 4]), Some(dims(&[24, 8, 4, 1])));
        assert_eq!(to(&[6, 8], &[48]), Some(dims(&[1])));
        assert_eq!(to(&[2, 6], &[2, 2, 3]), Some(dims(&[8, 3, 1])));
        assert_eq!(to(&[2, 6], &[12]), None);
        assert_eq!(to(&[2, 6], &[3, 4]), None);
        assert_eq!(to(&[2, 6], &[1, 2, 1, 6]), Some(dims(&[16, 8, 8, 1])));
        assert_eq!(to(&[1, 1], &[1]), Some(dims(&[1])));
        assert_eq!(to(&[4], &[4, 1]), Some(dims(&[1, 1])));
        let heads = [b(), s(), 3.into(), 8.into()];
        let flat = [b().times(&s()), 24.into()];
        let lay = normal(DType::F32, &[b(), s(), 24.into()], &specs());
        let split = reshape(&[b(), s(), 24.into()], &lay, &heads).unwrap();
        assert_eq!(split.strides, [s().times(&24.into()), 24.into(), 8.into(), 1.into()]);
        assert_eq!(reshape(&heads, &split, &flat).unwrap().strides, dims(&[24, 1]));
    }

    #[test]
    fn slices_move_the_offset_and_a_slice_of_columns_still_folds() {
        let lay = slice(&of(&[2, 3, 24]), 2, 8).unwrap();
        assert_eq!((lay.offset.clone(), &lay.strides), (8.into(), &dims(&[72, 24, 1])));
        let shape = dims(&[2, 3, 8]);
        let fold = vec![(Axis::R, 2), (Axis::C, 1)];
        let strides = along(DType::F32, &shape, &lay, &fold).unwrap();
        assert_eq!(strides, [(Axis::R, 24.into()), (Axis::C, 1.into())]);
        assert!(reshape(&shape, &lay, &dims(&[48])).is_none());
        let rows = slice(&of(&[2, 3, 24]), 1, 1).unwrap();
        assert!(along(DType::F32, &dims(&[2, 2, 24]), &rows, &fold).is_none(), "rows do not merge");
        assert!(along(DType::F32, &dims(&[2, 1, 24]), &rows, &fold).is_some(), "a single row does");
        assert!(along(DType::F32, &shape, &slice(&lay, 2, 2).unwrap(), &fold).is_none(), "not aligned");
        let indices = normal(DType::U32, &dims(&[2, 5]), &[]);
        assert!(along(DType::U32, &dims(&[2, 5]), &indices, &vec![(Axis::R, 2)]).is_some());
        assert!(along(DType::U32, &dims(&[2, 4]), &indices, &vec![(Axis::R, 2)]).is_none());
    }

    #[test]
    fn a_slice_past_an_unknown_stride_is_a_size_of_the_call_or_cannot_be_said() {
        let lay = normal(DType::F32, &[b(), s(), 8.into()], &specs());
        let by_batch = slice(&lay, 0, 1).unwrap();
        assert_eq!(by_batch.offset, s().times(&8.into()));
        assert!(
            along(DType::F32, &[b(), s(), 8.into()], &by_batch, &vec![(Axis::R, 2), (Axis::C, 1)]).is_none()
        );
        assert!(slice(&by_batch, 1, 1).is_none());
        assert_eq!(slice(&by_batch, 1, 0).as_ref(), Some(&by_batch));
    }
}

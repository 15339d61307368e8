//! The bytes of a weight's buffer a few rows at a time, so that no more of a tensor is in memory than that.

use std::borrow::Cow;
use std::ops::Range;

use super::{
    Store, blocks, check, form_bytes, group_bytes, group_major, in_form, in_panels, joined, names,
    panel_width, row_bytes, rows,
};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::plan::{WeightForm, WeightSpec};
use crate::tensor::byte_len;

/// A piece reads and writes about so many bytes, or one panel of columns if that is more; scales of groups along K
/// of int8 weights, whose order is another, are one piece.
pub(crate) const PIECE_BYTES: u64 = 8 << 20;

/// Bytes of a buffer, with where they begin there.
pub(crate) type Run<'a> = (u64, Cow<'a, [u8]>);

/// The bytes of a weight's buffer, piece by piece. What no piece has is zero.
pub(crate) struct Pieces<'a> {
    spec: &'a WeightSpec,
    store: &'a dyn Store,
    dtype: DType,
    shape: Vec<usize>,
    /// Rows of a piece: of the first axis.
    each: usize,
    next: usize,
}

impl<'a> Pieces<'a> {
    /// Checks what is given against what the plan wants.
    pub fn new(spec: &'a WeightSpec, store: &'a dyn Store) -> Result<Self> {
        Self::of(spec, store, PIECE_BYTES)
    }

    fn of(spec: &'a WeightSpec, store: &'a dyn Store, piece_bytes: u64) -> Result<Self> {
        let (dtype, shape) = joined(&spec.sources, &spec.rows)?;
        let needed = form_bytes(spec.form, dtype, &shape)?;
        let shape = in_form(spec.form, shape);
        if needed != spec.bytes {
            return Err(Error::Shape(format!(
                "weight `{}`: its form takes {needed} bytes, but the plan says {}",
                names(&spec.sources),
                spec.bytes
            )));
        }
        spec.sources.iter().try_for_each(|source| check(source, store))?;
        let rows = shape.first().copied().unwrap_or(1).max(1);
        // Scales are far less than the blocks that they are read from.
        let read = byte_len(dtype, &shape)? as u64;
        let fit = (piece_bytes.saturating_mul(rows as u64) / needed.max(read)).clamp(1, rows as u64) as usize;
        let each = match spec.form {
            WeightForm::Rows if shape.len() > 1 => fit,
            WeightForm::Panels | WeightForm::BlockScales => {
                let width = panel_width(rows as u64) as usize;
                (fit / width).max(1) * width
            }
            WeightForm::Rows | WeightForm::GroupMajor => rows,
        };
        Ok(Self { spec, store, dtype, shape, each, next: 0 })
    }

    /// All of them at once: without a copy where the tensor's bytes are the buffer's.
    pub fn at_once(&self) -> Result<Cow<'a, [u8]>> {
        let needed = self.spec.bytes as usize;
        let mut runs = self.runs(0..self.rows())?;
        if let [(0, bytes)] = runs.as_mut_slice() {
            let mut bytes = std::mem::take(bytes);
            if bytes.len() != needed {
                bytes.to_mut().resize(needed, 0);
            }
            return Ok(bytes);
        }
        let mut out = vec![0; needed];
        for (at, bytes) in runs {
            out[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(out.into())
    }

    /// The bytes that it is made of, all in order, piece by piece.
    #[cfg(feature = "gpu")]
    pub fn sources(self) -> impl Iterator<Item = Result<Cow<'a, [u8]>>> {
        let (rows, each) = (self.rows(), self.each);
        (0..rows).step_by(each).map(move |start| self.given(start..(start + each).min(rows)))
    }

    fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// What some rows, which begin where a panel does, are in the buffer.
    fn runs(&self, range: Range<usize>) -> Result<Vec<Run<'a>>> {
        let (dtype, shape, form) = (self.dtype, &self.shape, self.spec.form);
        let start = range.start;
        let bytes = self.given(range)?;
        let last = shape.last().copied().unwrap_or(1);
        // Of each plane all rows lie in front of the next plane's. What the last one lacks to a word is behind it.
        let planes = |planes: Vec<(usize, Vec<u8>)>| {
            let mut first = 0;
            let mut run = |(row, mut bytes): (usize, Vec<u8>)| {
                let at = first + start * row;
                first += shape[0] * row;
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                (at as u64, Cow::Owned(bytes))
            };
            planes.into_iter().map(&mut run).collect::<Vec<_>>()
        };
        Ok(match form {
            WeightForm::Rows => {
                let inner: usize = shape.get(1..shape.len().max(1) - 1).unwrap_or(&[]).iter().product();
                let row = if shape.len() > 1 { inner * row_bytes(dtype, last) } else { 0 };
                vec![((start * row) as u64, rows(dtype, shape, bytes))]
            }
            WeightForm::Panels if dtype.is_blocks() => planes(blocks::codes(dtype, last, &bytes)),
            WeightForm::BlockScales => planes(blocks::scales(dtype, last, &bytes)),
            WeightForm::Panels => {
                let (own, unit) = (last / dtype.block() * dtype.block_bytes(), group_bytes(dtype));
                planes(vec![(own.next_multiple_of(unit), in_panels(own, unit, &bytes))])
            }
            WeightForm::GroupMajor if dtype == DType::U4 => {
                let codes: Vec<u8> = bytes.iter().flat_map(|b| [b & 15, b >> 4]).collect();
                let codes = group_major(1, shape, &codes);
                let pair = |pair: &[u8]| pair[0] | pair.get(1).map_or(0, |c| c << 4);
                vec![(0, codes.chunks(2).map(pair).collect())]
            }
            WeightForm::GroupMajor => vec![(0, group_major(dtype.block_bytes(), shape, &bytes).into())],
        })
    }

    /// The bytes of some rows, as the tensors have them.
    fn given(&self, range: Range<usize>) -> Result<Cow<'a, [u8]>> {
        let first = self.spec.rows.as_ref().map_or(0, |rows| rows.start);
        let wanted = range.start + first..range.end + first;
        let (block, size) = (self.dtype.block(), self.dtype.block_bytes());
        let mut out = Cow::Borrowed(&[][..]);
        let mut begin = 0;
        for source in &self.spec.sources {
            let shape = in_form(self.spec.form, source.shape.clone());
            let rows = shape.first().copied().unwrap_or(1);
            let inner: usize = shape.get(1..).unwrap_or(&[]).iter().product();
            let (from, to) = (wanted.start.max(begin), wanted.end.min(begin.saturating_add(rows)));
            if from < to {
                // Blocks lie along the last axis: of a tensor with one axis, rows are elements.
                let byte = |row: usize| (row - begin) as u64 * inner as u64 / block as u64 * size as u64;
                let some = self.store.bytes(&source.name, byte(from)..byte(to))?;
                if out.is_empty() { out = some } else { out.to_mut().extend_from_slice(&some) }
            }
            begin = begin.saturating_add(rows);
        }
        Ok(out)
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Vec<Run<'a>>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (start, rows) = (self.next, self.rows());
        if start >= rows {
            return None;
        }
        self.next = (start + self.each).min(rows);
        if start == 0 && self.next == rows {
            return Some(self.at_once().map(|bytes| vec![(0, bytes)]));
        }
        Some(self.runs(start..self.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::WeightSource;
    use crate::plan::prepare::{Weights, prepare};
    use crate::rng::Rng;
    use crate::tensor::Tensor;

    /// A tensor of any bytes: how they lie is all that is looked at.
    fn any(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
        let mut rng = Rng::new(seed);
        let bytes = byte_len(dtype, shape).unwrap();
        Tensor::new(dtype, shape, (0..bytes).map(|_| rng.below(256) as u8).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn pieces_are_the_whole_and_begin_where_devices_take_them() {
        let forms = [
            (WeightForm::Rows, DType::F16, vec![90, 3, 9]),
            (WeightForm::Rows, DType::U32, vec![90, 7]),
            (WeightForm::Rows, DType::F32, vec![900]),
            (WeightForm::Panels, DType::F16, vec![300, 9]),
            (WeightForm::Panels, DType::I8, vec![700, 7]),
            (WeightForm::GroupMajor, DType::F32, vec![300, 2]),
        ];
        let blocks = crate::formats::FORMATS.iter().filter(|f| f.packed().is_some()).flat_map(|f| {
            let shape = |n| vec![n, 2 * f.dtype.block()];
            let both = [WeightForm::Panels, WeightForm::BlockScales];
            both.into_iter().flat_map(move |form| {
                [(form, f.dtype, shape(300)), (form, f.dtype, shape(7)), (form, f.dtype, shape(129))]
            })
        });
        let mut several = 0;
        for (form, dtype, shape) in forms.into_iter().chain(blocks) {
            // Two tensors joined, of which neither first nor last rows are wanted.
            let mut shapes = [shape.clone(), shape.clone()];
            (shapes[0][0], shapes[1][0]) = (shape[0] / 3 + 5, shape[0] - shape[0] / 3);
            let tensors = [any(dtype, &shapes[0], 1), any(dtype, &shapes[1], 2)];
            let source = |(name, shape): (&str, &Vec<usize>)| WeightSource {
                name: name.into(),
                dtype,
                shape: shape.clone(),
            };
            let sources: Vec<_> = ["a", "b"].into_iter().zip(&shapes).map(source).collect();
            let rows = Some(2..shape[0] + 2);
            let bytes = form_bytes(form, dtype, &shape).unwrap();
            let spec = WeightSpec { sources, form, rows, bytes };
            let store = ["a", "b"].map(String::from).into_iter().zip(tensors).collect::<Weights>();
            let whole = prepare(&spec, &store).unwrap();
            let mut out = vec![0; whole.len()];
            for piece in Pieces::of(&spec, &store, 1000).unwrap() {
                let piece = piece.unwrap();
                several += usize::from(piece[0].0 > 0);
                for (at, bytes) in piece {
                    assert!(at.is_multiple_of(4) && bytes.len().is_multiple_of(4), "{dtype} {form:?}: {at}");
                    out[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
                }
            }
            assert!(out == whole, "{dtype} {form:?} {shape:?}");
        }
        assert!(several > 20, "{several} pieces that are not the first");
    }
}

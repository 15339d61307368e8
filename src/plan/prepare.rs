//! From the tensors that a user gives to the bytes of a weight's buffer. Pure, and done once.
//!
//! It never guesses: a tensor of another type or shape than the graph says is an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::plan::{WeightForm, WeightSource, WeightSpec};
use crate::tensor::Tensor;

mod blocks;
mod pieces;

#[cfg(feature = "gpu")]
pub(crate) use pieces::PIECE_BYTES;
pub(crate) use pieces::Pieces;

/// The tensors that a user gives as weights, by name.
pub type Weights = BTreeMap<String, Tensor>;

/// Whoever has the tensors that become weights: [`Weights`], a [`Model`](crate::files::Model) in memory or mapped,
/// [`ModelFiles`](crate::files::ModelFiles) on a disk.
pub trait Store: Sync {
    /// The type and shape of a tensor; `None` if there is none of that name.
    ///
    /// # Errors
    /// [`Error::Argument`] if the library has no such type.
    fn about(&self, name: &str) -> Result<Option<(DType, Vec<usize>)>>;

    /// Some bytes of a tensor, of those that it has row-major and without gaps: whole blocks. What they are copied
    /// to is all the memory that this takes.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no such bytes; [`Error::File`] if they cannot be read, or blocks stand for
    /// values that are not finite.
    fn bytes(&self, name: &str, range: Range<u64>) -> Result<Cow<'_, [u8]>>;
}

impl Store for Weights {
    fn about(&self, name: &str) -> Result<Option<(DType, Vec<usize>)>> {
        Ok(self.get(name).map(|t| (t.dtype(), t.shape().to_vec())))
    }

    fn bytes(&self, name: &str, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        let within = self.get(name).and_then(|t| t.bytes_in(&range));
        within.ok_or_else(|| Error::Argument(format!("weight `{name}`: it has no bytes {range:?}")))
    }
}

/// The bytes of one weight's buffer.
///
/// # Errors
/// [`Error::Argument`] if a tensor is missing or has another type than the graph says,
/// [`Error::Shape`] if it has another shape, or if the spec asks for a form its type cannot take; those of
/// [`Store::bytes`].
pub fn prepare(spec: &WeightSpec, weights: &dyn Store) -> Result<Vec<u8>> {
    let pieces = Pieces::new(spec, weights)?;
    Ok(pieces.at_once()?.into_owned())
}

/// The bytes that a weight of this type and shape takes in a form; a multiple of 16, and at least 16.
///
/// # Errors
/// [`Error::Shape`] if the type or the number of axes does not go with the form.
pub(super) fn form_bytes(form: WeightForm, dtype: DType, shape: &[usize]) -> Result<u64> {
    let flat = in_form(form, shape.to_vec());
    let count = |dims: &[usize]| dims.iter().fold(1u64, |p, n| p.saturating_mul(*n as u64));
    let bytes = match (form, flat.as_slice()) {
        (WeightForm::Rows, _) if dtype.block() == 1 => {
            let (last, leading) = shape.split_last().unwrap_or((&1, &[]));
            count(leading).saturating_mul(row_bytes(dtype, *last) as u64)
        }
        (WeightForm::Panels | WeightForm::BlockScales, [n, k]) if dtype.is_blocks() => {
            let Some((codes, scales)) = blocks::block_bytes(dtype) else {
                return Err(Error::Shape(format!("weight: no kernel reads {dtype}")));
            };
            let each = if form == WeightForm::Panels { codes } else { scales };
            let behind = if form == WeightForm::Panels { behind(*n, blocks::group_bytes(dtype)) } else { 0 };
            count(&[*n, k / dtype.block(), each]).saturating_add(behind)
        }
        (WeightForm::Panels, [n, k]) if dtype != DType::U32 => {
            let group = group_bytes(dtype);
            count(&[*n, k.div_ceil(4), group]).saturating_add(behind(*n, group))
        }
        (WeightForm::GroupMajor, [n, g]) if dtype.block() == 1 => count(&[*n, *g, dtype.block_bytes()]),
        (WeightForm::GroupMajor, [n, g]) if dtype == DType::U4 => count(&[*n, *g]).div_ceil(2),
        _ => {
            return Err(Error::Shape(format!("weight: {dtype} {shape:?} cannot be laid out as {form:?}")));
        }
    };
    Ok(bytes.max(1).checked_next_multiple_of(16).unwrap_or(u64::MAX - 15))
}

/// A shape as a form sees it: in panels the columns of all experts `[E, C, K]` are one axis.
fn in_form(form: WeightForm, shape: Vec<usize>) -> Vec<usize> {
    match (form, shape.as_slice()) {
        (WeightForm::Panels | WeightForm::BlockScales, &[experts, columns, k]) => {
            vec![experts.saturating_mul(columns), k]
        }
        _ => shape,
    }
}

/// Bytes of four elements of a type that has no scales of its own.
const fn group_bytes(dtype: DType) -> usize {
    4 * dtype.block_bytes() / dtype.block()
}

/// Columns of the first panel of [`WeightForm::Panels`], of a weight with so many: as many as kernels tile, so
/// that what a workgroup reads lies together. The last one has as many as are left.
pub(crate) fn panel_width(n: u64) -> u64 {
    n.clamp(1, PANEL)
}

/// The most columns of a panel; `shaders/lib/column_panel.wgsl` has it too.
pub(crate) const PANEL: u64 = 128;

/// Bytes behind the last panel, if others are before it: a workgroup that owns the columns of a whole one may read
/// so far, whatever is there.
fn behind(n: usize, group: usize) -> u64 {
    let (panel, last) = (PANEL as usize, n % PANEL as usize);
    if n > panel && last > 0 { ((panel - last) * group) as u64 } else { 0 }
}

/// Bytes from one row to the next: floats and int8 are padded to 16, indices are tight.
fn row_bytes(dtype: DType, last: usize) -> usize {
    let tight = last.saturating_mul(dtype.block_bytes());
    if dtype == DType::U32 { tight } else { tight.checked_next_multiple_of(16).unwrap_or(usize::MAX - 15) }
}

/// The type and shape of the sources, joined along their first axis; of these rows, if not of all.
pub(super) fn joined(sources: &[WeightSource], rows: &Option<Range<usize>>) -> Result<(DType, Vec<usize>)> {
    let Some(first) = sources.first() else {
        return Err(Error::Argument("weight: it has no source".into()));
    };
    let mut shape = first.shape.clone();
    for source in &sources[1..] {
        let tails = (source.shape.get(1..), shape.get(1..));
        if source.dtype != first.dtype || tails.0.is_none() || tails.0 != tails.1 {
            return Err(Error::Shape(format!(
                "weight: `{}` is {} {:?}, but `{}`, which it is joined to, is {} {:?}",
                source.name, source.dtype, source.shape, first.name, first.dtype, first.shape
            )));
        }
        shape[0] = shape[0].saturating_add(source.shape[0]);
    }
    if let Some(rows) = rows {
        let Some(all) = shape.first_mut().filter(|n| rows.start <= rows.end && rows.end <= **n) else {
            return Err(Error::Shape(format!(
                "weight `{}`: it has the shape {shape:?}, of which there are no rows {rows:?}",
                names(sources)
            )));
        };
        *all = rows.len();
    }
    Ok((first.dtype, shape))
}

/// Fails unless a tensor is what the graph says.
fn check(source: &WeightSource, weights: &dyn Store) -> Result<()> {
    let WeightSource { name, dtype, shape } = source;
    let Some((given, given_shape)) = weights.about(name)? else {
        return Err(Error::Argument(format!(
            "weight `{name}` was not given; the graph has it as {dtype} {shape:?}"
        )));
    };
    if given != *dtype {
        return Err(Error::Argument(format!(
            "weight `{name}`: the graph has it as {dtype}, but {given} was given"
        )));
    }
    if given_shape != *shape {
        return Err(Error::Shape(format!(
            "weight `{name}`: the graph has it as {shape:?}, but {given_shape:?} was given"
        )));
    }
    Ok(())
}

fn names(sources: &[WeightSource]) -> String {
    sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join("+")
}

fn rows<'a>(dtype: DType, shape: &[usize], bytes: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
    let last = shape.last().copied().unwrap_or(1);
    let (tight, padded) = (last * dtype.block_bytes(), row_bytes(dtype, last));
    if tight == padded || tight == 0 {
        return bytes;
    }
    let mut out = vec![0; bytes.len() / tight * padded];
    for (to, from) in out.chunks_exact_mut(padded).zip(bytes.chunks_exact(tight)) {
        to[..tight].copy_from_slice(from);
    }
    out.into()
}

/// Rows of `row` bytes in panels, of which the first begins with them: of all rows of a panel their first `unit`
/// bytes side by side, then the next. What a row lacks to whole units is zeros.
fn in_panels(row: usize, unit: usize, bytes: &[u8]) -> Vec<u8> {
    let (panel, units) = (PANEL as usize, row.div_ceil(unit));
    let rows = bytes.len().checked_div(row).unwrap_or(0);
    let mut out = vec![0; rows * units * unit];
    if row == 0 {
        return out;
    }
    for (i, row) in bytes.chunks_exact(row).enumerate() {
        let before = i / panel * panel;
        let (first, width) = (before * units + i % panel, panel.min(rows - before));
        for (u, from) in row.chunks(unit).enumerate() {
            let at = (first + u * width) * unit;
            out[at..at + from.len()].copy_from_slice(from);
        }
    }
    out
}

fn group_major(element_bytes: usize, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let (n, groups) = (shape[0], shape[1]);
    let element = |g: usize, i: usize| &bytes[(i * groups + g) * element_bytes..][..element_bytes];
    (0..groups).flat_map(|g| (0..n).flat_map(move |i| element(g, i).iter().copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::q8_0;
    use crate::rng::Rng;

    fn spec(form: WeightForm, tensors: &[(&str, &Tensor)]) -> WeightSpec {
        let sources: Vec<_> = tensors
            .iter()
            .map(|(name, t)| WeightSource {
                name: (*name).into(),
                dtype: t.dtype(),
                shape: t.shape().to_vec(),
            })
            .collect();
        let (dtype, shape) = joined(&sources, &None).unwrap();
        WeightSpec { bytes: form_bytes(form, dtype, &shape).unwrap(), sources, form, rows: None }
    }

    fn given(tensors: &[(&str, &Tensor)]) -> Weights {
        tensors.iter().map(|(name, t)| ((*name).to_owned(), (*t).clone())).collect()
    }

    fn random(dtype: DType, shape: &[usize]) -> Tensor {
        let mut rng = Rng::new(7 + shape.len() as u64);
        let n = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|_| (rng.signed() * 100.0).round()).collect();
        match dtype {
            DType::Q8_0 => q8_0::quantize(&Tensor::from_f64(DType::F32, shape, &values).unwrap()).unwrap(),
            _ => Tensor::from_f64(dtype, shape, &values).unwrap(),
        }
    }

    fn decode(dtype: DType, bytes: &[u8], i: usize) -> f64 {
        match dtype {
            DType::F32 => f64::from(f32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap())),
            DType::F16 => half::f16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]).to_f64(),
            _ => f64::from(bytes[i] as i8),
        }
    }

    #[test]
    fn rows_are_padded_to_16_bytes_and_joined_along_the_first_axis() {
        for (dtype, align) in [(DType::F32, 4), (DType::F16, 8), (DType::I8, 16)] {
            let (a, b) = (random(dtype, &[3, 2, 5]), random(dtype, &[1, 2, 5]));
            let both = [("a", &a), ("b", &b)];
            let bytes = prepare(&spec(WeightForm::Rows, &both), &given(&both)).unwrap();
            let padded = 5usize.next_multiple_of(align);
            assert_eq!(bytes.len(), 8 * 16usize.max(padded * 16 / align));
            let values: Vec<f64> = a.to_f64().into_iter().chain(b.to_f64()).collect();
            for r in 0..8 {
                for c in 0..padded {
                    let expected = if c < 5 { values[r * 5 + c] } else { 0.0 };
                    assert_eq!(
                        decode(dtype, &bytes, r * padded + c),
                        expected,
                        "{dtype} row {r}, element {c}"
                    );
                }
            }
        }
    }

    #[test]
    fn biases_join_into_one_row() {
        let (a, b) = (random(DType::F32, &[6]), random(DType::F32, &[3]));
        let both = [("a", &a), ("b", &b)];
        let bytes = prepare(&spec(WeightForm::Rows, &both), &given(&both)).unwrap();
        assert_eq!(bytes.len(), 48);
        let values: Vec<f64> = a.to_f64().into_iter().chain(b.to_f64()).chain([0.0; 3]).collect();
        assert_eq!((0..12).map(|i| decode(DType::F32, &bytes, i)).collect::<Vec<_>>(), values);
    }

    #[test]
    fn panels_put_groups_of_k_beside_each_other_for_neighbouring_columns() {
        for (dtype, k) in [(DType::F32, 6), (DType::F16, 9), (DType::I8, 7), (DType::Q8_0, 64)] {
            for n in [5, 128, 300] {
                let (a, b) = (random(dtype, &[n - 2, k]), random(dtype, &[2, k]));
                let both = [("a", &a), ("b", &b)];
                let bytes = prepare(&spec(WeightForm::Panels, &both), &given(&both)).unwrap();
                assert!(bytes.len().is_multiple_of(16));
                let quants = |t: &Tensor| match dtype {
                    DType::Q8_0 => {
                        q8_0::planes(&t.to_bytes()).1.iter().map(|q| f64::from(*q as i8)).collect()
                    }
                    _ => t.to_f64(),
                };
                let values: Vec<f64> = quants(&a).into_iter().chain(quants(&b)).collect();
                let padded = k.next_multiple_of(4);
                for c in 0..n {
                    for i in 0..padded {
                        let expected = if i < k { values[c * k + i] } else { 0.0 };
                        let before = c / 128 * 128;
                        let group = before * (padded / 4) + i / 4 * 128.min(n - before) + c % 128;
                        let found = decode(dtype, &bytes, group * 4 + i % 4);
                        assert_eq!(found, expected, "{dtype} of {n} [{c}, {i}]");
                    }
                }
            }
        }
    }

    #[test]
    fn block_scales_lie_in_the_same_panels() {
        for n in [5, 200] {
            let w = random(DType::Q8_0, &[n, 96]);
            let one = [("w", &w)];
            let bytes = prepare(&spec(WeightForm::BlockScales, &one), &given(&one)).unwrap();
            assert_eq!(bytes.len(), (n * 6).next_multiple_of(16));
            let raw = w.to_bytes();
            for c in 0..n {
                for b in 0..3 {
                    let scale = &raw[(c * 3 + b) * 34..][..2];
                    let before = c / 128 * 128;
                    let at = before * 3 + b * 128.min(n - before) + c % 128;
                    assert_eq!(&bytes[at * 2..][..2], scale, "column {c}, block {b}");
                }
            }
        }
    }

    #[test]
    fn half_bytes_stay_half_bytes_and_lie_where_kernels_look() {
        let (n, k) = (130, 64);
        let w = random(DType::U4, &[n, k]);
        let zeros = random(DType::U4, &[n, 4]);
        let bytes = |form, t: &Tensor| prepare(&spec(form, &[("w", t)]), &given(&[("w", t)])).unwrap();
        let nibble = |bytes: &[u8], i: usize| f64::from(bytes[i / 2] >> (i % 2 * 4) & 15);
        let panels = bytes(WeightForm::Panels, &w);
        assert!(panels.len() <= n * k / 2 + 128 * 2 + 16);
        let values = w.to_f64();
        for (c, i) in [(0, 0), (1, 7), (127, 63), (128, 0), (129, 62)] {
            let width = (n - c / 128 * 128).min(128);
            let group = c / 128 * (k / 4) * 128 + i / 4 * width + c % 128;
            assert_eq!(nibble(&panels, group * 4 + i % 4), values[c * k + i], "[{c}, {i}]");
        }
        let (major, values) = (bytes(WeightForm::GroupMajor, &zeros), zeros.to_f64());
        assert_eq!(major.len(), (n * 4 / 2usize).next_multiple_of(16));
        for (c, g) in [(0, 0), (1, 3), (129, 2)] {
            assert_eq!(nibble(&major, g * n + c), values[c * 4 + g], "[{c}, {g}]");
        }
        assert!(form_bytes(WeightForm::Rows, DType::U4, &[2, 4]).is_err());
    }

    #[test]
    fn wrong_tensors_are_named_with_both_sides() {
        let w = random(DType::F32, &[2, 3]);
        let spec = spec(WeightForm::Rows, &[("w", &w)]);
        let message = |t: &Tensor| prepare(&spec, &given(&[("w", t)])).unwrap_err().to_string();
        assert_eq!(
            prepare(&spec, &Weights::new()).unwrap_err().to_string(),
            "weight `w` was not given; the graph has it as f32 [2, 3]"
        );
        let f16 = random(DType::F16, &[2, 3]);
        assert_eq!(message(&f16), "weight `w`: the graph has it as f32, but f16 was given");
        let wide = random(DType::F32, &[3, 2]);
        assert_eq!(message(&wide), "weight `w`: the graph has it as [2, 3], but [3, 2] was given");
    }

    #[test]
    fn forms_that_do_not_exist_are_errors() {
        assert!(form_bytes(WeightForm::Rows, DType::Q8_0, &[2, 32]).is_err());
        assert!(form_bytes(WeightForm::Panels, DType::F32, &[2, 3, 4, 5]).is_err());
        assert!(form_bytes(WeightForm::GroupMajor, DType::F32, &[2, 3, 4]).is_err());
        assert!(form_bytes(WeightForm::BlockScales, DType::F32, &[2, 32]).is_err());
        assert_eq!(form_bytes(WeightForm::Rows, DType::F32, &[0, 4]), Ok(16));
    }
}

//! The fence around a run: what buffers are filled with before it, and whether what nobody had any
//! business with is untouched after it.

use crate::dim::{Call, Dim};
use crate::dtype::DType;
use crate::kernel::Layout;
use crate::tensor::Tensor;

/// What outputs and scratch are filled with: a signalling NaN as f32, NaN twice as f16, far out of
/// range as an index. No arithmetic leaves these bits.
pub(super) const POISON: [u8; 4] = 0x7fa5_7fa5_u32.to_le_bytes();
/// What follows inputs and weights, and fills the gaps between their rows: NaN in every float type.
pub(super) const BEYOND: [u8; 4] = 0xffff_ffff_u32.to_le_bytes();

/// `len` bytes of a pattern.
pub(super) fn filled(pattern: [u8; 4], len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&pattern[..len.min(4)]);
    while out.len() < len {
        out.extend_from_within(..out.len().min(len - out.len()));
    }
    out
}

/// Where a tensor lies in a buffer during one call.
#[derive(Debug, Clone)]
pub(super) struct Place {
    dtype: DType,
    shape: Vec<usize>,
    offset: usize,
    strides: Vec<usize>,
}

impl Place {
    pub fn new(dtype: DType, shape: &[Dim], layout: &Layout, call: &Call) -> Self {
        let size = |d: &Dim| usize::try_from(d.eval(call)).unwrap_or(usize::MAX);
        Self {
            dtype,
            shape: shape.iter().map(size).collect(),
            offset: size(&Dim::from(layout.offset)),
            strides: layout.strides.iter().map(size).collect(),
        }
    }

    /// Writes a tensor where it lies.
    pub fn write(&self, tensor: &Tensor, buffer: &mut [u8]) {
        let tight = tensor.to_bytes();
        let size = self.dtype.block_bytes();
        self.for_each_run(|from, to, len| {
            let (from, to, len) = (from * size, to * size, len * size);
            buffer[to..to + len].copy_from_slice(&tight[from..from + len]);
        });
    }

    /// Reads the tensor that lies here; `None` if the buffer ends before it does.
    pub fn read(&self, buffer: &[u8]) -> Option<Tensor> {
        let size = self.dtype.block_bytes();
        let mut tight = vec![0; self.shape.iter().product::<usize>() * size];
        let mut inside = true;
        self.for_each_run(|to, from, len| {
            let (to, from, len) = (to * size, from * size, len * size);
            match buffer.get(from..from + len) {
                Some(bytes) => tight[to..to + len].copy_from_slice(bytes),
                None => inside = false,
            }
        });
        if inside { Tensor::new(self.dtype, &self.shape, tight).ok() } else { None }
    }

    /// Marks the words (4 bytes each) that a kernel which writes this tensor may write: floats and
    /// sums travel in groups, and rows are padded to 16 bytes.
    pub fn mark(&self, owned: &mut [bool]) {
        let size = self.dtype.block_bytes();
        let unit = if self.dtype.is_float() || self.dtype == DType::I32 { 16 } else { 4 };
        self.for_each_run(|_, at, len| {
            let start = at * size / unit * unit / 4;
            let end = ((at + len) * size).next_multiple_of(unit) / 4;
            let end = end.min(owned.len());
            owned[start.min(end)..end].fill(true);
        });
    }

    /// Marks the bytes that elements of this tensor take.
    pub fn hold(&self, held: &mut [bool]) {
        let size = self.dtype.block_bytes();
        self.for_each_run(|_, at, len| {
            let end = ((at + len) * size).min(held.len());
            held[(at * size).min(end)..end].fill(true);
        });
    }

    /// Visits every run of neighbours with its place in the tensor, its place in the buffer and its
    /// length, in elements.
    fn for_each_run(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (width, leading) = match (self.shape.split_last(), self.strides.last()) {
            (Some((width, leading)), Some(1)) => (*width, leading),
            _ => (1, self.shape.as_slice()),
        };
        if width == 0 {
            return;
        }
        let mut index = vec![0; leading.len()];
        for run in 0..leading.iter().product::<usize>() {
            let at: usize = index.iter().zip(&self.strides).map(|(i, s)| i * s).sum();
            visit(run * width, self.offset + at, width);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < leading[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
    }
}

/// The first byte outside the owned words that is not as it was `before`.
pub(super) fn first_touched(buffer: &[u8], before: &[u8], owned: &[bool]) -> Option<usize> {
    let words = buffer.chunks(4).zip(before.chunks(4)).zip(owned);
    words.enumerate().find(|(_, ((word, before), owned))| !**owned && word != before).map(|(i, _)| i * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dtype: DType, shape: [usize; 2], stride: usize) -> Place {
        let layout = Layout { offset: 16, strides: vec![Dim::from(stride), Dim::ONE] };
        Place::new(dtype, &shape.map(Dim::from), &layout, &Call::default())
    }

    #[test]
    fn what_is_written_is_read_and_the_rest_is_as_it_was() {
        for dtype in [DType::F32, DType::F16, DType::U32] {
            let place = place(dtype, [2, 3], 8);
            let tensor = Tensor::from_f64(dtype, &[2, 3], &[1., 2., 3., 4., 5., 6.]).unwrap();
            let mut buffer = filled(POISON, 160);
            place.write(&tensor, &mut buffer);
            assert_eq!(place.read(&buffer).unwrap(), tensor);
            let mut owned = vec![false; 40];
            place.mark(&mut owned);
            assert_eq!(first_touched(&buffer, &filled(POISON, 160), &owned), None);
            let outside = owned.iter().rposition(|o| !o).unwrap();
            buffer[outside * 4 + 1] ^= 1;
            assert_eq!(first_touched(&buffer, &filled(POISON, 160), &owned), Some(outside * 4));
            assert!(place.read(&buffer[..40]).is_none());
        }
    }

    #[test]
    fn patterns_are_nan_in_every_float_type() {
        for pattern in [POISON, BEYOND] {
            assert!(f32::from_le_bytes(pattern).is_nan());
            assert!(half::f16::from_le_bytes([pattern[0], pattern[1]]).is_nan());
        }
    }

    #[test]
    fn a_place_may_skip_elements_along_its_last_axis() {
        let layout = Layout { offset: 0, strides: vec![Dim::from(1), Dim::from(4)] };
        let place = Place::new(DType::U32, &[Dim::from(2), Dim::from(3)], &layout, &Call::default());
        let buffer: Vec<u8> = (0..12u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(place.read(&buffer).unwrap().to_f64(), [0., 4., 8., 1., 5., 9.]);
    }
}

//! Host tensors: a type, a shape, strides, and shared bytes. A tensor is a view of a buffer.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};

use crate::dtype::DType;
use crate::error::{Error, Result};

/// A tensor in host memory.
///
/// Cloning, reshaping and slicing share the bytes. Blocks of a block format lie along the last axis.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    /// Distance between neighbours along each axis, in elements.
    strides: Vec<usize>,
    /// Where the first element lies, in elements.
    offset: usize,
    bytes: Arc<[u8]>,
}

/// Tight row-major strides of a shape, in elements.
pub fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1].saturating_mul(shape[i + 1]);
    }
    strides
}

impl Tensor {
    /// A tensor of `shape` over `bytes`, row-major and without gaps.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shape does not take exactly these bytes, or its last axis is not a
    /// whole number of blocks.
    pub fn new(dtype: DType, shape: &[usize], bytes: impl Into<Arc<[u8]>>) -> Result<Self> {
        let bytes = bytes.into();
        let needed = byte_len(dtype, shape)?;
        if needed != bytes.len() {
            return Err(Error::Shape(format!(
                "tensor: {dtype} {shape:?} takes {needed} bytes, but {} were given",
                bytes.len()
            )));
        }
        Ok(Self { dtype, shape: shape.to_vec(), strides: row_major(shape), offset: 0, bytes })
    }

    /// An f32 tensor.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Result<Self> {
        Self::new(DType::F32, shape, bytemuck::cast_slice::<f32, u8>(values))
    }

    /// A tensor of unsigned integers.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_u32(shape: &[usize], values: &[u32]) -> Result<Self> {
        Self::new(DType::U32, shape, bytemuck::cast_slice::<u32, u8>(values))
    }

    /// A tensor of `dtype` with these values, each rounded to nearest (ties to even); integers saturate.
    ///
    /// # Errors
    /// As [`Tensor::new`]; [`Error::Argument`] for a block format, which needs a quantiser
    /// (see [`formats`](crate::formats)).
    pub fn from_f64(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Self> {
        let bytes: Vec<u8> = match dtype {
            DType::F32 => values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
            DType::F16 => values.iter().flat_map(|v| f16::from_f64(*v).to_le_bytes()).collect(),
            DType::U32 => values.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
            DType::I8 => values.iter().map(|v| (v.round_ties_even() as i8) as u8).collect(),
            DType::U8 => values.iter().map(|v| v.round_ties_even() as u8).collect(),
            DType::I32 => values.iter().flat_map(|v| (v.round_ties_even() as i32).to_le_bytes()).collect(),
            DType::U4 => {
                let code = |v: &f64| v.round_ties_even().clamp(0.0, 15.0) as u8;
                let pair = |pair: &[f64]| code(&pair[0]) | pair.get(1).map_or(0, |v| code(v) << 4);
                values.chunks(2).map(pair).collect()
            }
            DType::Bf16 => values.iter().flat_map(|v| bf16::from_f64(*v).to_le_bytes()).collect(),
            _ => {
                return Err(Error::Argument(format!("tensor: {dtype} is made by `formats::quantize`")));
            }
        };
        Self::new(dtype, shape, bytes)
    }

    /// A tensor whose bytes are all zero.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shape is too large to address.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        Self::new(dtype, shape, vec![0; byte_len(dtype, shape)?])
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The size of each axis, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Distance between neighbours along each axis, in elements.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether an axis is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if the view is row-major without gaps.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if self.strides != row_major(&self.shape) && !self.is_empty() {
            return None;
        }
        let start = self.offset / self.dtype.block() * self.dtype.block_bytes();
        self.bytes.get(start..start + byte_len(self.dtype, &self.shape).ok()?)
    }

    /// Some of the bytes, of those that it has row-major and without gaps; `None` if there are none such. Of a
    /// view that is not row-major only the rows that they lie in are copied.
    pub(crate) fn bytes_in(&self, range: &Range<u64>) -> Option<Cow<'_, [u8]>> {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        if let Some(bytes) = self.as_bytes() {
            return bytes.get(range).map(Cow::Borrowed);
        }
        let row = byte_len(self.dtype, self.shape.get(1..)?).ok().filter(|row| *row > 0)?;
        let rows = self.slice(0, range.start / row, range.end.div_ceil(row)).ok()?;
        let from = range.start / row * row;
        Some(rows.to_bytes().get(range.start - from..range.end - from)?.to_vec().into())
    }

    /// The bytes, row-major without gaps; copied if this view is not.
    pub fn to_bytes(&self) -> Vec<u8> {
        if let Some(bytes) = self.as_bytes() {
            return bytes.to_vec();
        }
        let (block, size) = (self.dtype.block(), self.dtype.block_bytes());
        let mut out = Vec::with_capacity(self.len() / block * size);
        self.for_each_offset(|at, i| {
            if i % block == 0 {
                let start = at / block * size;
                out.extend_from_slice(&self.bytes[start..start + size]);
            }
        });
        out
    }

    /// Every element as f64, in row-major order; block formats are dequantised.
    pub fn to_f64(&self) -> Vec<f64> {
        let bytes = self.to_bytes();
        match self.dtype {
            DType::F32 => bytes
                .chunks_exact(4)
                .map(|c| f64::from(f32::from_le_bytes([c[0], c[1], c[2], c[3]])))
                .collect(),
            DType::F16 => bytes.chunks_exact(2).map(|c| f16::from_le_bytes([c[0], c[1]]).to_f64()).collect(),
            DType::U32 => bytes
                .chunks_exact(4)
                .map(|c| f64::from(u32::from_le_bytes([c[0], c[1], c[2], c[3]])))
                .collect(),
            DType::I8 => bytes.iter().map(|b| f64::from(*b as i8)).collect(),
            DType::U8 => bytes.iter().map(|b| f64::from(*b)).collect(),
            DType::U4 => bytes.iter().flat_map(|b| [f64::from(b & 15), f64::from(b >> 4)]).collect(),
            DType::I32 => bytes
                .chunks_exact(4)
                .map(|c| f64::from(i32::from_le_bytes([c[0], c[1], c[2], c[3]])))
                .collect(),
            DType::Bf16 => {
                bytes.chunks_exact(2).map(|c| bf16::from_le_bytes([c[0], c[1]]).to_f64()).collect()
            }
            _ => crate::formats::dequantize(self.dtype, &bytes),
        }
    }

    /// Every element as f32, in row-major order; block formats are dequantised.
    pub fn to_f32(&self) -> Vec<f32> {
        self.to_f64().into_iter().map(|v| v as f32).collect()
    }

    /// Every element of a `u32` tensor, in row-major order.
    ///
    /// # Errors
    /// [`Error::Argument`] if the type is another.
    pub fn to_u32(&self) -> Result<Vec<u32>> {
        if self.dtype != DType::U32 {
            return Err(Error::Argument(format!("tensor: {} asked for as u32", self.dtype)));
        }
        Ok(self.to_bytes().chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
    }

    /// The same elements rounded to another plain type.
    ///
    /// # Errors
    /// [`Error::Argument`] for a block format.
    pub fn cast(&self, dtype: DType) -> Result<Self> {
        Self::from_f64(dtype, &self.shape, &self.to_f64())
    }

    /// The same elements under another shape; shares the bytes where it can.
    ///
    /// # Errors
    /// [`Error::Shape`] if the element counts differ.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        byte_len(self.dtype, shape)?;
        if shape.iter().product::<usize>() != self.len() {
            return Err(Error::Shape(format!(
                "reshape: {:?} has {} elements, but {shape:?} has {}",
                self.shape,
                self.len(),
                shape.iter().product::<usize>()
            )));
        }
        if self.as_bytes().is_none() {
            return Self::new(self.dtype, shape, self.to_bytes());
        }
        Ok(Self { shape: shape.to_vec(), strides: row_major(shape), ..self.clone() })
    }

    /// Elements `start..end` of one axis; shares the bytes.
    ///
    /// # Errors
    /// [`Error::Shape`] if the axis does not exist, the range leaves it, or it would cut a block.
    pub fn slice(&self, axis: usize, start: usize, end: usize) -> Result<Self> {
        let block = if axis + 1 == self.shape.len() { self.dtype.block() } else { 1 };
        if axis >= self.shape.len() || start > end || end > self.shape[axis] {
            return Err(Error::Shape(format!(
                "slice: {start}..{end} of axis {axis} does not lie in {:?}",
                self.shape
            )));
        }
        if !start.is_multiple_of(block) || !end.is_multiple_of(block) {
            return Err(Error::Shape(format!("slice: {start}..{end} cuts a block of {block} elements")));
        }
        let mut view = self.clone();
        view.shape[axis] = end - start;
        view.offset += start * self.strides[axis];
        Ok(view)
    }

    fn for_each_offset(&self, mut visit: impl FnMut(usize, usize)) {
        let mut index = vec![0; self.shape.len()];
        for i in 0..self.len() {
            let at: usize = index.iter().zip(&self.strides).map(|(x, s)| x * s).sum();
            visit(self.offset + at, i);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({} {:?}", self.dtype, self.shape)?;
        if self.len() <= 16 {
            write!(f, " {:?}", self.to_f64())?;
        }
        f.write_str(")")
    }
}

/// Bytes of a tight tensor, checked.
pub(crate) fn byte_len(dtype: DType, shape: &[usize]) -> Result<usize> {
    if let Some(last) = shape.last()
        && !last.is_multiple_of(dtype.block())
    {
        return Err(Error::Shape(format!(
            "tensor: the last axis of {dtype} {shape:?} must be a multiple of {}, the block size",
            dtype.block()
        )));
    }
    shape
        .iter()
        .try_fold(1usize, |p, n| p.checked_mul(*n))
        .and_then(|n| (n / dtype.block()).checked_mul(dtype.block_bytes()))
        .ok_or_else(|| Error::Shape(format!("tensor: {dtype} {shape:?} is too large to address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_share_bytes_and_read_the_right_elements() {
        let t = Tensor::from_f32(&[2, 3], &[0., 1., 2., 3., 4., 5.]).unwrap();
        let right = t.slice(1, 1, 3).unwrap();
        assert_eq!(right.to_f32(), [1., 2., 4., 5.]);
        assert!(right.as_bytes().is_none());
        assert_eq!(right.reshape(&[4]).unwrap().to_f32(), [1., 2., 4., 5.]);
        assert_eq!(t.slice(0, 1, 2).unwrap().as_bytes().map(<[u8]>::len), Some(12));
    }

    #[test]
    fn wrong_lengths_are_named() {
        let e = Tensor::new(DType::F32, &[2, 2], vec![0; 12]).unwrap_err();
        assert_eq!(e.to_string(), "tensor: f32 [2, 2] takes 16 bytes, but 12 were given");
        assert!(Tensor::new(DType::Q8_0, &[33], vec![0; 34]).is_err());
        assert!(Tensor::zeros(DType::F32, &[usize::MAX, 8]).is_err());
    }
}

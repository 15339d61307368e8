//! Weight formats: how blocks are packed, unpacked and made.
//!
//! The layouts are those of GGUF files. What a block stands for is unpacked exactly, in f64; rounded to f32
//! that is bit for bit what ggml has, since all its products are exact in f32 and it rounds at most once.
//!
//! Denormal numbers: a scale or least that is a denormal f16 counts in full, here and on every device, whatever
//! that does with denormals of its own. On a device a value below f32's normal numbers may be 0 instead; of all
//! formats only MXFP4 has some, under its exponents 0 and 1. `tests/blocks.rs` holds kernels to that.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

pub use cache::CacheForm;
pub use feedback::Feedback;

mod block32;
pub mod cache;
mod codebook;
mod feedback;
mod fit;
pub mod groups;
pub mod i8;
mod k;
mod lookup;
pub(crate) mod packed;
pub mod q8_0;
mod ternary;

pub(crate) use packed::{Codes, Packed};
pub(crate) use ternary::digits as ternary_digits;

/// Makes one block.
type Pack = fn(&[f32], &mut [u8]);
/// Unpacks one.
type UnpackOne = fn(&[u8], &mut [f64]);

/// How the blocks of a type are unpacked, and made.
#[derive(Debug)]
pub struct Format {
    /// The type.
    pub dtype: DType,
    /// Unpacks one block into as many values as it has.
    unpack: Unpack,
    /// Makes one block of as many values as it has; `None` where nobody makes files of the type here.
    pack: Option<Pack>,
}

/// How a block is unpacked.
#[derive(Debug)]
enum Unpack {
    /// Codes in planes of bits, each of which stands for a number, times a scale.
    Planes(&'static packed::Packed),
    /// As the format's own function has it.
    Own(UnpackOne),
}

/// Every block format.
pub static FORMATS: [Format; 23] = [
    planes(DType::Q8_0, &q8_0::Q8_0, Some(q8_0::pack)),
    planes(DType::Q4_0, &block32::Q4_0, Some(block32::pack_q4_0)),
    planes(DType::Q4_1, &block32::Q4_1, Some(block32::pack_q4_1)),
    planes(DType::Q5_0, &block32::Q5_0, Some(block32::pack_q5_0)),
    planes(DType::Q5_1, &block32::Q5_1, Some(block32::pack_q5_1)),
    planes(DType::Q2K, &k::Q2_K, Some(k::make::pack_q2_k)),
    planes(DType::Q3K, &k::Q3_K, Some(k::make::pack_q3_k)),
    planes(DType::Q4K, &k::Q4_K, Some(k::make::pack_q4_k)),
    planes(DType::Q5K, &k::Q5_K, Some(k::make::pack_q5_k)),
    planes(DType::Q6K, &k::Q6_K, Some(k::make::pack_q6_k)),
    planes(DType::Iq4Nl, &lookup::IQ4_NL, Some(lookup::pack_iq4_nl)),
    planes(DType::Iq4Xs, &lookup::IQ4_XS, Some(lookup::pack_iq4_xs)),
    planes(DType::Mxfp4, &lookup::MXFP4, Some(lookup::pack_mxfp4)),
    planes(DType::Nvfp4, &lookup::NVFP4, None),
    planes(DType::Tq2_0, &ternary::TQ2_0, Some(ternary::pack_tq2_0)),
    own(DType::Tq1_0, ternary::unpack_tq1_0, Some(ternary::pack_tq1_0)),
    own(DType::Iq1S, codebook::unpack_iq1_s, None),
    own(DType::Iq1M, codebook::unpack_iq1_m, None),
    own(DType::Iq2Xxs, codebook::unpack_iq2_xxs, None),
    own(DType::Iq2Xs, codebook::unpack_iq2_xs, None),
    own(DType::Iq2S, codebook::unpack_iq2_s, None),
    own(DType::Iq3Xxs, codebook::unpack_iq3_xxs, None),
    own(DType::Iq3S, codebook::unpack_iq3_s, None),
];

const fn planes(dtype: DType, packed: &'static packed::Packed, pack: Option<Pack>) -> Format {
    Format { dtype, unpack: Unpack::Planes(packed), pack }
}

const fn own(dtype: DType, unpack: UnpackOne, pack: Option<Pack>) -> Format {
    Format { dtype, unpack: Unpack::Own(unpack), pack }
}

/// The format of a type; `None` for plain types.
pub fn of(dtype: DType) -> Option<&'static Format> {
    FORMATS.iter().find(|f| f.dtype == dtype)
}

impl Format {
    /// Whether blocks can be made.
    pub const fn can_quantize(&self) -> bool {
        self.pack.is_some()
    }

    /// Where the bits of its codes lie, if they stand for numbers one by one.
    pub(crate) const fn packed(&self) -> Option<&'static packed::Packed> {
        match &self.unpack {
            Unpack::Planes(packed) => Some(packed),
            Unpack::Own(_) => None,
        }
    }
}

/// The values of raw blocks, exactly; what is no whole block at the end is left out, and of a plain type
/// everything.
pub fn dequantize(dtype: DType, blocks: &[u8]) -> Vec<f64> {
    let Some(format) = of(dtype) else { return Vec::new() };
    let (block, size) = (dtype.block(), dtype.block_bytes());
    let mut out = vec![0.0; blocks.len() / size * block];
    for (bytes, values) in blocks.chunks_exact(size).zip(out.chunks_exact_mut(block)) {
        match &format.unpack {
            Unpack::Planes(packed) => packed.unpack(bytes, values),
            Unpack::Own(unpack) => unpack(bytes, values),
        }
    }
    out
}

/// The type that rows of `width` elements get where `dtype` was asked for: that type, or if they are no whole
/// number of its blocks one of like size with smaller blocks, and else f16. It is llama.cpp's rule
/// (`llama-quant.cpp`): from `q4_k` to `q5_0`, `q5_k` to `q5_1`, `q6_k` to `q8_0`, ternary types to `q4_0`, all
/// other blocks of 256 to `iq4_nl`.
pub fn fallback(dtype: DType, width: usize) -> DType {
    let smaller = match dtype {
        DType::Q4K => DType::Q5_0,
        DType::Q5K => DType::Q5_1,
        DType::Q6K => DType::Q8_0,
        DType::Tq1_0 | DType::Tq2_0 => DType::Q4_0,
        large if large.block() == 256 => DType::Iq4Nl,
        _ => DType::F16,
    };
    let fits = |d: &DType| width.is_multiple_of(d.block());
    [dtype, smaller].into_iter().find(fits).unwrap_or(DType::F16)
}

/// The list of vectors that blocks of a type are made of, an entry of 16 bits each; empty without.
pub(crate) fn list(dtype: DType) -> &'static [u16] {
    codebook::list(dtype)
}

/// The least of every value of raw blocks, that is what is added to a scaled code; nothing of formats without.
pub(crate) fn leasts(dtype: DType, blocks: &[u8]) -> Vec<f64> {
    let packed = of(dtype).and_then(Format::packed).filter(|p| p.has_least());
    let Some(packed) = packed else { return Vec::new() };
    let parts = |block| (0..dtype.block() / packed.part).map(move |part| (packed.scale)(block, part).1);
    let parts = blocks.chunks_exact(dtype.block_bytes()).flat_map(parts);
    parts.flat_map(|least| std::iter::repeat_n(least, packed.part)).collect()
}

/// The first block that stands for a value which is no finite f32; `None` of a plain type.
pub(crate) fn first_not_finite(dtype: DType, blocks: &[u8]) -> Option<usize> {
    /// No number that a code stands for is as large.
    const CODE: f64 = 256.0;
    let format = of(dtype)?;
    let fine = |(scale, least): (f64, f64)| scale.abs() * CODE + least.abs() < f64::from(f32::MAX);
    blocks.chunks_exact(dtype.block_bytes()).position(|b| {
        // Scales that are small enough say it without unpacking.
        let parts = format.packed().map(|p| (0..dtype.block() / p.part).all(|i| fine((p.scale)(b, i))));
        parts != Some(true) && dequantize(dtype, b).iter().any(|v| !(*v as f32).is_finite())
    })
}

/// The same elements as another type: blocks along the last axis for a block format, each element rounded to
/// nearest for a plain type. Elements must be finite.
///
/// # Errors
/// [`Error::Argument`] if blocks of the type are only read; [`Error::Shape`] if the last axis is not a whole
/// number of blocks.
pub fn quantize(dtype: DType, x: &Tensor) -> Result<Tensor> {
    let Some(format) = of(dtype) else { return x.cast(dtype) };
    let Some(pack) = format.pack else {
        return Err(Error::Argument(format!("{dtype}: blocks of this type can be read, but not made")));
    };
    let (block, size) = (dtype.block(), dtype.block_bytes());
    if !x.shape().last().is_some_and(|n| n.is_multiple_of(block)) {
        return Err(Error::Shape(format!(
            "{dtype}: the last axis of {:?} must be a multiple of {block}",
            x.shape()
        )));
    }
    let values = x.to_f32();
    let mut bytes = vec![0; values.len() / block * size];
    for (values, bytes) in values.chunks_exact(block).zip(bytes.chunks_exact_mut(size)) {
        pack(values, bytes);
    }
    Tensor::new(dtype, x.shape(), bytes)
}

/// The f16 at a place in a block.
fn half_at(block: &[u8], at: usize) -> f64 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f64()
}

/// Writes an f16, rounded to nearest, and returns what is stored.
fn put_half(block: &mut [u8], at: usize, v: f32) -> f32 {
    let stored = half::f16::from_f32(v);
    block[at..at + 2].copy_from_slice(&stored.to_le_bytes());
    stored.to_f32()
}

#[cfg(test)]
mod tests;

//! GGUF `Q8_0`: blocks of 32 along the last axis; an f16 scale `d`, then 32 int8 `q`; value `d·q`.
//!
//! The quantiser is ggml's reference: `d = max|x| / 127` kept in f32 for the division, stored as
//! f16; `q = round(x·(1/d))`, half away from zero.

use half::f16;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Elements in a block.
pub const BLOCK: usize = 32;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 34;

/// Quantises the last axis of `x`.
///
/// # Errors
/// [`Error::Shape`] if the last axis is not a multiple of 32.
pub fn quantize(x: &Tensor) -> Result<Tensor> {
    if !x.shape().last().is_some_and(|n| n.is_multiple_of(BLOCK)) {
        return Err(Error::Shape(format!(
            "q8_0: the last axis of {:?} must be a multiple of {BLOCK}",
            x.shape()
        )));
    }
    let values = x.to_f32();
    let mut bytes = Vec::with_capacity(values.len() / BLOCK * BLOCK_BYTES);
    for block in values.chunks_exact(BLOCK) {
        let d = block.iter().fold(0f32, |m, v| m.max(v.abs())) / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        bytes.extend(f16::from_f32(d).to_le_bytes());
        bytes.extend(block.iter().map(|v| (v * inverse).round() as i8 as u8));
    }
    Tensor::new(DType::Q8_0, x.shape(), bytes)
}

/// The values of raw blocks, exactly.
pub fn dequantize(blocks: &[u8]) -> Vec<f64> {
    let mut out = Vec::with_capacity(blocks.len() / BLOCK_BYTES * BLOCK);
    for block in blocks.chunks_exact(BLOCK_BYTES) {
        let d = f16::from_le_bytes([block[0], block[1]]).to_f64();
        out.extend(block[2..].iter().map(|q| d * f64::from(*q as i8)));
    }
    out
}

/// Splits raw blocks into the plane of scales (one f16 each, as bits) and the plane of int8.
pub fn planes(blocks: &[u8]) -> (Vec<u16>, Vec<u8>) {
    let mut scales = Vec::with_capacity(blocks.len() / BLOCK_BYTES);
    let mut quants = Vec::with_capacity(blocks.len() / BLOCK_BYTES * BLOCK);
    for block in blocks.chunks_exact(BLOCK_BYTES) {
        scales.push(u16::from_le_bytes([block[0], block[1]]));
        quants.extend_from_slice(&block[2..]);
    }
    (scales, quants)
}

//! GGUF `Q8_0`: blocks of 32 along the last axis; an f16 scale `d`, then 32 int8 `q`; value `d·q`.
//!
//! The quantiser is ggml's reference: `d = max|x| / 127` kept in f32 for the division, stored as
//! f16; `q = round(x·(1/d))`, half away from zero.

use super::packed::{Codes, Packed, Plane};
use super::{half_at, put_half};
use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::Tensor;

/// Elements in a block.
pub const BLOCK: usize = 32;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 34;

pub(super) static Q8_0: Packed = Packed {
    planes: &[Plane::new(2, 8, BLOCK)],
    part: BLOCK,
    codes: Codes::Signed,
    halves: &[0],
    exponent: None,
    scales: &[(0, 2, 2)],
    scale: |b, _| (half_at(b, 0), -0.0),
};

/// Quantises the last axis of `x`.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the last axis is not a multiple of 32.
pub fn quantize(x: &Tensor) -> Result<Tensor> {
    super::quantize(DType::Q8_0, x)
}

pub(super) fn pack(values: &[f32], block: &mut [u8]) {
    let d = values.iter().fold(0f32, |m, v| m.max(v.abs())) / 127.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    put_half(block, 0, d);
    for (q, v) in block[2..].iter_mut().zip(values) {
        *q = (v * inverse).round() as i8 as u8;
    }
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

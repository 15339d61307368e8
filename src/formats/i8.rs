//! Int8 weights with one f32 scale per output channel (row of `w[N, K]`): `w ≈ scale[n]·q`.
//!
//! `scale = max|row| / 127`, `q` rounds half to even as ONNX does; a row of zeros has scale 0.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Quantises `w[N, K]`; returns the int8 tensor `[N, K]` and its scales `[N]`.
///
/// # Errors
/// [`Error::Shape`] unless `w` has two axes.
pub fn quantize(w: &Tensor) -> Result<(Tensor, Tensor)> {
    let &[n, k] = w.shape() else {
        return Err(Error::Shape(format!("i8: a weight has 2 axes, but this one has shape {:?}", w.shape())));
    };
    let values = w.to_f32();
    let mut q = Vec::with_capacity(n * k);
    let mut scales = Vec::with_capacity(n);
    for row in 0..n {
        let row = &values[row * k..(row + 1) * k];
        let scale = row.iter().fold(0f32, |m, v| m.max(v.abs())) / 127.0;
        scales.push(scale);
        let quantum = |v: &f32| if scale > 0.0 { (v / scale).round_ties_even() as i8 as u8 } else { 0 };
        q.extend(row.iter().map(quantum));
    }
    Ok((Tensor::new(DType::I8, &[n, k], q)?, Tensor::from_f32(&[n], &scales)?))
}

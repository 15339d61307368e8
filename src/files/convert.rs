//! Values into the bytes of a type and back, and what that cost.

use half::{bf16, f16};

use super::Encoding;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats;
use crate::tensor::Tensor;

/// The bytes of `values` in a type: plain types round to nearest, blocks are made by the type's own quantiser.
///
/// # Errors
/// [`Error::Argument`] if a value is not finite and the type has blocks, or the type has no quantiser;
/// [`Error::Shape`] if the values are no whole number of blocks.
pub fn quantize(dtype: DType, values: &[f32]) -> Result<Vec<u8>> {
    if let Some(i) = values.iter().position(|v| !v.is_finite()) {
        let (v, block) = (values[i], dtype.block());
        if block > 1 {
            return Err(Error::Argument(format!("{dtype}: value {i} is {v}, which no block can hold")));
        }
    }
    Ok(formats::quantize(dtype, &Tensor::from_f32(&[values.len()], values)?)?.to_bytes())
}

/// The values that bytes of an encoding stand for, each as the nearest f32.
///
/// # Errors
/// [`Error::Argument`] if the library cannot unpack this encoding, or a finite value is more than f32 can hold;
/// [`Error::Shape`] if the bytes are no whole
/// number of blocks.
pub fn dequantize(encoding: &Encoding, bytes: &[u8]) -> Result<Vec<f32>> {
    let size = usize::try_from(encoding.block_bytes).unwrap_or(usize::MAX);
    if !bytes.len().is_multiple_of(size) {
        return Err(Error::Shape(format!(
            "{encoding}: {} bytes are no whole number of blocks, which have {size}",
            bytes.len()
        )));
    }
    // Plain types are common and large: straight, without f64 in between.
    match encoding.name {
        "F32" => return Ok(bytes.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c)).collect()),
        "F16" => return Ok(bytes.as_chunks().0.iter().map(|c| f16::from_le_bytes(*c).to_f32()).collect()),
        "BF16" => return Ok(bytes.as_chunks().0.iter().map(|c| bf16::from_le_bytes(*c).to_f32()).collect()),
        "F64" => return narrow(bytes),
        _ => {}
    }
    let Some(dtype) = encoding.dtype() else {
        return Err(Error::Argument(format!("{encoding}: there is nothing yet that unpacks it")));
    };
    let values = bytes.len() / size * dtype.block();
    Ok(Tensor::new(dtype, &[values], bytes)?.to_f32())
}

/// F64 as f32, where that has such large numbers.
fn narrow(bytes: &[u8]) -> Result<Vec<f32>> {
    let wide = bytes.as_chunks().0.iter().map(|c| f64::from_le_bytes(*c));
    let one = |(i, v): (usize, f64)| match v as f32 {
        narrow if v.is_finite() && !narrow.is_finite() => {
            Err(Error::Argument(format!("F64: value {i} is {v:e}, which is more than f32 can hold")))
        }
        narrow => Ok(narrow),
    };
    wide.enumerate().map(one).collect()
}

/// What values lost on their way into a type: sums over all values, and the worst block.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Loss {
    error: f64,
    signal: f64,
    blocks: u64,
    worst: Option<(u64, f64)>,
}

impl Loss {
    /// Adds values and what became of them, in blocks of `block` values.
    pub fn add(&mut self, block: usize, before: &[f32], after: &[f32]) {
        let block = block.max(1);
        for (x, y) in before.chunks(block).zip(after.chunks(block)) {
            let (mut error, mut signal) = (0f64, 0f64);
            for (x, y) in x.iter().zip(y) {
                let (x, y) = (f64::from(*x), f64::from(*y));
                error += (y - x) * (y - x);
                signal += x * x;
            }
            self.error += error;
            self.signal += signal;
            let relative = ratio(error, signal);
            // NaN is worse than any number.
            if self.worst.is_none_or(|(_, w)| relative > w || (relative.is_nan() && !w.is_nan())) {
                self.worst = Some((self.blocks, relative));
            }
            self.blocks += 1;
        }
    }

    /// The root of the mean squared error, as a part of the root of the mean square of the values.
    pub fn relative_rms(&self) -> f64 {
        ratio(self.error, self.signal)
    }

    /// Signal to noise, in decibels; infinite if nothing was lost.
    pub fn snr_db(&self) -> f64 {
        -20.0 * self.relative_rms().log10()
    }

    /// The block with the largest relative RMS error of its own, counted from 0, and that error.
    pub fn worst_block(&self) -> Option<(u64, f64)> {
        self.worst
    }
}

/// √(error / signal); nothing lost of nothing is 0.
fn ratio(error: f64, signal: f64) -> f64 {
    if error == 0.0 { 0.0 } else { (error / signal).sqrt() }
}

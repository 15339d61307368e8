//! Weight formats: how blocks are packed, unpacked and made.

pub mod i8;
pub mod q8_0;

use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::Tensor;

/// The same elements as another type: blocks along the last axis for a block format, each element rounded to
/// nearest for a plain type.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if blocks of the type are not made here;
/// [`Error::Shape`](crate::Error::Shape) if the last axis is not a whole number of blocks.
pub fn quantize(dtype: DType, x: &Tensor) -> Result<Tensor> {
    match dtype {
        DType::Q8_0 => q8_0::quantize(x),
        _ => x.cast(dtype),
    }
}

//! Element types: what a tensor's bytes mean.

use std::fmt;

/// The type of a tensor's elements, or the block format of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16. On a device it always travels packed, two to a `u32`, so that a kernel
    /// runs the same where `shader-f16` is missing; arithmetic is in f32.
    F16,
    /// Unsigned 32-bit integers: indices and lengths.
    U32,
    /// Signed 8-bit integers, from -128 to 127: quantised tensors. Kernels compute with them in f32.
    I8,
    /// Unsigned 8-bit integers, from 0 to 255: quantised tensors. Kernels compute with them in f32.
    U8,
    /// GGUF `Q8_0`: blocks of 32 along the last axis, an f16 scale `d` and 32 int8 `q`; the value
    /// is `d·q`.
    Q8_0,
}

impl DType {
    /// Every type there is.
    pub const ALL: [Self; 6] = [Self::F32, Self::F16, Self::U32, Self::I8, Self::U8, Self::Q8_0];

    /// The name used in messages, case names and files: `f32`, `f16`, `u32`, `i8`, `u8`, `q8_0`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U32 => "u32",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Q8_0 => "q8_0",
        }
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Elements in one block; 1 for plain types.
    pub const fn block(self) -> usize {
        match self {
            Self::Q8_0 => 32,
            _ => 1,
        }
    }

    /// Bytes of one block as it is stored in files and host tensors.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 => 2,
            Self::I8 | Self::U8 => 1,
            Self::Q8_0 => 34,
        }
    }

    /// Whether activations may have this type.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }

    /// Smallest and largest value of an 8-bit integer type; `None` for other types.
    pub const fn integer_range(self) -> Option<(f64, f64)> {
        match self {
            Self::I8 => Some((-128.0, 127.0)),
            Self::U8 => Some((0.0, 255.0)),
            _ => None,
        }
    }

    /// Unit roundoff of a floating-point type: half the distance from 1 to the next number.
    pub const fn unit_roundoff(self) -> f64 {
        match self {
            Self::F16 => 1.0 / 2048.0,
            _ => 1.0 / 16_777_216.0,
        }
    }

    /// Smallest normal magnitude: below it a GPU may flush to zero (WGSL §15.7.2).
    pub const fn min_normal(self) -> f64 {
        match self {
            Self::F16 => 1.0 / 16384.0,
            _ => f32::MIN_POSITIVE as f64,
        }
    }

    /// Largest finite magnitude.
    pub const fn max_finite(self) -> f64 {
        match self {
            Self::F16 => 65504.0,
            _ => f32::MAX as f64,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

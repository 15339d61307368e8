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
    /// bfloat16: the upper half of an f32. A type of weights; kernels compute with them in f32.
    Bf16,
    /// GGUF `Q4_0`: blocks of 32, `d·(q - 8)`, q of 4 bits.
    Q4_0,
    /// GGUF `Q4_1`: blocks of 32, `d·q + m`, q of 4 bits.
    Q4_1,
    /// GGUF `Q5_0`: blocks of 32, `d·(q - 16)`, q of 5 bits.
    Q5_0,
    /// GGUF `Q5_1`: blocks of 32, `d·q + m`, q of 5 bits.
    Q5_1,
    /// GGUF `Q2_K`: blocks of 256 in sixteens, `d·s·q - dmin·m`, q of 2 bits, s and m of 4.
    Q2K,
    /// GGUF `Q3_K`: blocks of 256 in sixteens, `d·(s - 32)·(q - 4)`, q of 3 bits, s of 6.
    Q3K,
    /// GGUF `Q4_K`: blocks of 256 in eight parts, `d·s·q - dmin·m`, q of 4 bits, s and m of 6.
    Q4K,
    /// GGUF `Q5_K`: as `Q4_K`, q of 5 bits.
    Q5K,
    /// GGUF `Q6_K`: blocks of 256 in sixteens, `d·s·(q - 32)`, q of 6 bits, s int8.
    Q6K,
    /// GGUF `IQ4_NL`: blocks of 32, `d·t[q]`, q of 4 bits, t a table of 16 values.
    Iq4Nl,
    /// GGUF `IQ4_XS`: blocks of 256 in eight parts, `d·(s - 32)·t[q]`, t as of `IQ4_NL`, s of 6 bits.
    Iq4Xs,
    /// GGUF `MXFP4`: blocks of 32, a power of two times an e2m1.
    Mxfp4,
    /// GGUF `NVFP4`: blocks of 64 in sixteens, an unsigned e4m3 times an e2m1.
    Nvfp4,
    /// GGUF `TQ1_0`: blocks of 256, `d·t`, t of -1, 0 and 1, five to a byte.
    Tq1_0,
    /// GGUF `TQ2_0`: blocks of 256, `d·t`, t of 2 bits from -1 on.
    Tq2_0,
    /// GGUF `IQ1_S`: blocks of 256, vectors of 8 out of 2048, a scale for each 32.
    Iq1S,
    /// GGUF `IQ1_M`: as `IQ1_S`, a scale for each 16.
    Iq1M,
    /// GGUF `IQ2_XXS`: blocks of 256, vectors of 8 out of 256 and their signs, a scale for each 32.
    Iq2Xxs,
    /// GGUF `IQ2_XS`: as `IQ2_XXS`, vectors out of 512, a scale for each 16.
    Iq2Xs,
    /// GGUF `IQ2_S`: as `IQ2_XS`, vectors out of 1024, any signs.
    Iq2S,
    /// GGUF `IQ3_XXS`: blocks of 256, vectors of 4 out of 256 and their signs, a scale for each 32.
    Iq3Xxs,
    /// GGUF `IQ3_S`: as `IQ3_XXS`, vectors out of 512, any signs.
    Iq3S,
    /// Unsigned 4-bit integers, from 0 to 15, two to a byte, the first lowest: weights with scales for groups,
    /// and the zero points of those. A last axis is even.
    U4,
    /// Signed 32-bit integers: sums of whole numbers. They can be cast to f32, and given and taken.
    I32,
}

impl DType {
    /// Every type there is.
    pub const ALL: [Self; 31] = [
        Self::F32,
        Self::F16,
        Self::U32,
        Self::I8,
        Self::U8,
        Self::Q8_0,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Nl,
        Self::Iq4Xs,
        Self::Mxfp4,
        Self::Nvfp4,
        Self::Tq1_0,
        Self::Tq2_0,
        Self::Iq1S,
        Self::Iq1M,
        Self::Iq2Xxs,
        Self::Iq2Xs,
        Self::Iq2S,
        Self::Iq3Xxs,
        Self::Iq3S,
        Self::U4,
        Self::I32,
    ];

    /// The name, the elements of a block and their bytes, and the number that GGUF files have for the type.
    const fn facts(self) -> (&'static str, usize, usize, Option<u32>) {
        match self {
            Self::F32 => ("f32", 1, 4, Some(0)),
            Self::F16 => ("f16", 1, 2, Some(1)),
            Self::U32 => ("u32", 1, 4, None),
            Self::I8 => ("i8", 1, 1, Some(24)),
            Self::U8 => ("u8", 1, 1, None),
            Self::Q8_0 => ("q8_0", 32, 34, Some(8)),
            Self::Bf16 => ("bf16", 1, 2, Some(30)),
            Self::Q4_0 => ("q4_0", 32, 18, Some(2)),
            Self::Q4_1 => ("q4_1", 32, 20, Some(3)),
            Self::Q5_0 => ("q5_0", 32, 22, Some(6)),
            Self::Q5_1 => ("q5_1", 32, 24, Some(7)),
            Self::Q2K => ("q2_k", 256, 84, Some(10)),
            Self::Q3K => ("q3_k", 256, 110, Some(11)),
            Self::Q4K => ("q4_k", 256, 144, Some(12)),
            Self::Q5K => ("q5_k", 256, 176, Some(13)),
            Self::Q6K => ("q6_k", 256, 210, Some(14)),
            Self::Iq4Nl => ("iq4_nl", 32, 18, Some(20)),
            Self::Iq4Xs => ("iq4_xs", 256, 136, Some(23)),
            Self::Mxfp4 => ("mxfp4", 32, 17, Some(39)),
            Self::Nvfp4 => ("nvfp4", 64, 36, Some(40)),
            Self::Tq1_0 => ("tq1_0", 256, 54, Some(34)),
            Self::Tq2_0 => ("tq2_0", 256, 66, Some(35)),
            Self::Iq1S => ("iq1_s", 256, 50, Some(19)),
            Self::Iq1M => ("iq1_m", 256, 56, Some(29)),
            Self::Iq2Xxs => ("iq2_xxs", 256, 66, Some(16)),
            Self::Iq2Xs => ("iq2_xs", 256, 74, Some(17)),
            Self::Iq2S => ("iq2_s", 256, 82, Some(22)),
            Self::Iq3Xxs => ("iq3_xxs", 256, 98, Some(18)),
            Self::Iq3S => ("iq3_s", 256, 110, Some(21)),
            Self::U4 => ("u4", 2, 1, None),
            Self::I32 => ("i32", 1, 4, Some(26)),
        }
    }

    /// The name used in messages, case names and files: `f32`, `u8`, `q4_k`, ….
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// The number that GGUF files have for the type; `None` if they have none.
    pub const fn ggml_type(self) -> Option<u32> {
        self.facts().3
    }

    /// The type that a number stands for in GGUF files.
    pub fn from_ggml_type(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.ggml_type() == Some(number))
    }

    /// Elements in one block: those that share a scale, or a byte; 1 for all other types.
    pub const fn block(self) -> usize {
        self.facts().1
    }

    /// Bytes of one block as it is stored in files and host tensors.
    pub const fn block_bytes(self) -> usize {
        self.facts().2
    }

    /// Whether elements lie in blocks with scales of their own, of which only weights are made.
    pub const fn is_blocks(self) -> bool {
        self.block() > 1 && !matches!(self, Self::U4)
    }

    /// Whether only weights have the type.
    pub const fn is_of_weights(self) -> bool {
        self.block() > 1 || matches!(self, Self::Bf16)
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

//! How the elements of a tensor lie in a file: every type that GGUF and safetensors know, with the size of its
//! blocks, whether or not this library computes with it. Ids, names and sizes are those of ggml's `ggml.h` and of
//! `safetensors::Dtype`.

use crate::dtype::DType;

/// A type of elements in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Its name, as the format has it: `F32`, `Q4_K`, `F8_E4M3`.
    pub name: &'static str,
    /// GGUF's number of it; `None` if GGUF has no such type.
    pub gguf: Option<u32>,
    /// Elements in a block; 1 for plain types.
    pub block: u64,
    /// Bytes of a block.
    pub block_bytes: u64,
}

const fn gguf(id: u32, name: &'static str, block: u64, block_bytes: u64) -> Encoding {
    Encoding { name, gguf: Some(id), block, block_bytes }
}

const fn other(name: &'static str, block: u64, block_bytes: u64) -> Encoding {
    Encoding { name, gguf: None, block, block_bytes }
}

impl Encoding {
    /// Every type there is.
    pub const ALL: &'static [Self] = &[
        gguf(0, "F32", 1, 4),
        gguf(1, "F16", 1, 2),
        gguf(2, "Q4_0", 32, 18),
        gguf(3, "Q4_1", 32, 20),
        gguf(6, "Q5_0", 32, 22),
        gguf(7, "Q5_1", 32, 24),
        gguf(8, "Q8_0", 32, 34),
        gguf(9, "Q8_1", 32, 36),
        gguf(10, "Q2_K", 256, 84),
        gguf(11, "Q3_K", 256, 110),
        gguf(12, "Q4_K", 256, 144),
        gguf(13, "Q5_K", 256, 176),
        gguf(14, "Q6_K", 256, 210),
        gguf(15, "Q8_K", 256, 292),
        gguf(16, "IQ2_XXS", 256, 66),
        gguf(17, "IQ2_XS", 256, 74),
        gguf(18, "IQ3_XXS", 256, 98),
        gguf(19, "IQ1_S", 256, 50),
        gguf(20, "IQ4_NL", 32, 18),
        gguf(21, "IQ3_S", 256, 110),
        gguf(22, "IQ2_S", 256, 82),
        gguf(23, "IQ4_XS", 256, 136),
        gguf(24, "I8", 1, 1),
        gguf(25, "I16", 1, 2),
        gguf(26, "I32", 1, 4),
        gguf(27, "I64", 1, 8),
        gguf(28, "F64", 1, 8),
        gguf(29, "IQ1_M", 256, 56),
        gguf(30, "BF16", 1, 2),
        gguf(34, "TQ1_0", 256, 54),
        gguf(35, "TQ2_0", 256, 66),
        gguf(39, "MXFP4", 32, 17),
        gguf(40, "NVFP4", 64, 36),
        gguf(41, "Q1_0", 128, 18),
        other("BOOL", 1, 1),
        other("F4", 2, 1),
        other("F6_E2M3", 4, 3),
        other("F6_E3M2", 4, 3),
        other("U8", 1, 1),
        other("F8_E5M2", 1, 1),
        other("F8_E4M3", 1, 1),
        other("F8_E8M0", 1, 1),
        other("F8_E4M3FNUZ", 1, 1),
        other("F8_E5M2FNUZ", 1, 1),
        other("U16", 1, 2),
        other("U32", 1, 4),
        other("C64", 1, 8),
        other("U64", 1, 8),
    ];

    /// The type that GGUF calls by this number.
    pub fn by_gguf(id: u32) -> Option<&'static Self> {
        Self::ALL.iter().find(|e| e.gguf == Some(id))
    }

    /// The type of that name, in either case: `Q4_K` or `q4_k`.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|e| e.name.eq_ignore_ascii_case(name))
    }

    /// What the library calls this type; `None` if it does not compute with it.
    pub fn dtype(&self) -> Option<DType> {
        let same = |d: &DType| {
            d.name().eq_ignore_ascii_case(self.name)
                && d.block() as u64 == self.block
                && d.block_bytes() as u64 == self.block_bytes
        };
        DType::ALL.into_iter().find(same)
    }

    /// Whether its elements are plain floating-point numbers.
    pub fn is_float(&self) -> bool {
        ["F16", "BF16", "F32", "F64"].contains(&self.name)
    }

    /// How many elements a shape has; `None` if they cannot be counted in 64 bits.
    pub fn elements(shape: &[usize]) -> Option<u64> {
        // A zero among huge sizes would hide what the others overflow.
        let all = shape.iter().try_fold(1u64, |p, n| p.checked_mul(u64::try_from(*n).ok()?.max(1)))?;
        Some(if shape.contains(&0) { 0 } else { all })
    }

    /// Bytes of a tensor of this type; `None` if they cannot be counted in 64 bits, or its elements are no whole
    /// number of blocks.
    pub fn byte_len(&self, shape: &[usize]) -> Option<u64> {
        let elements = Self::elements(shape)?;
        elements.is_multiple_of(self.block).then_some(())?;
        (elements / self.block).checked_mul(self.block_bytes)
    }
}

impl std::fmt::Display for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

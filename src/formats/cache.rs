//! Rows of a quantised cache of keys or values: one head of one token, in whole words.
//!
//! A cache is a `u8` tensor `[B, T, G, row_bytes]`, a state of a graph like any other. Whoever copies, pages or
//! forks it copies rows. A row of D elements is its codes, then its scales, each padded with zeros to words of
//! four bytes, so that four codes of a byte are a word, four of 4 bits half a word, and one binding is enough:
//!
//! | form | codes | scales | value |
//! |---|---|---|---|
//! | `Int8` | int8 | one f32 | code · scale, rounded to f32 |
//! | `Q8_0` | int8 | an f16 for each block | code · scale, exactly |
//! | `Q4_0` | 4 bits | an f16 for each block | (code - 8) · scale, exactly |
//!
//! Of two codes in a byte the first has the lower bits. A block is 32 neighbours; the last of a row may have
//! fewer. Scales and codes of `Q8_0` and `Q4_0` are made by the formulas of ggml's blocks of these names, those of
//! `Int8` are max|x| / 127 and the whole number that is nearest to x / scale, of two as near the one farther from
//! 0.

use super::{block32, half_at, q8_0};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::numerics::round_error;
use crate::tensor::Tensor;

/// Elements that share a scale, unless a row has but one.
const BLOCK: usize = 32;
/// Bytes of a word.
const WORD: usize = 4;

/// How a row of a quantised cache holds its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheForm {
    /// 8 bits for an element, and an f32 scale for the row.
    Int8,
    /// 8 bits for an element, and an f16 scale for every 32.
    Q8_0,
    /// 4 bits for an element, and an f16 scale for every 32.
    Q4_0,
}

impl CacheForm {
    /// All of them, in the order of their [`number`](Self::number)s.
    pub const ALL: [Self; 3] = [Self::Int8, Self::Q8_0, Self::Q4_0];

    /// Its name: `int8`, `q8_0` or `q4_0`.
    pub const fn name(self) -> &'static str {
        ["int8", "q8_0", "q4_0"][self as usize]
    }

    /// What stands for it in a node's attribute, from 1 on; 0 stands for a plain cache.
    pub const fn number(self) -> u32 {
        self as u32 + 1
    }

    /// The form of a number, if it is one.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.number() == number)
    }

    /// The type whose blocks a row's are made like; `None` of a row with a scale of its own.
    pub const fn blocks(self) -> Option<DType> {
        match self {
            Self::Int8 => None,
            Self::Q8_0 => Some(DType::Q8_0),
            Self::Q4_0 => Some(DType::Q4_0),
        }
    }

    /// Bytes of the codes of `width` elements with their padding: where the scales begin.
    pub const fn code_bytes(self, width: usize) -> usize {
        let bytes = match self {
            Self::Int8 | Self::Q8_0 => width,
            Self::Q4_0 => width.div_ceil(2),
        };
        bytes.next_multiple_of(WORD)
    }

    /// Bytes of a row of `width` elements.
    pub const fn row_bytes(self, width: usize) -> usize {
        let scales = match self {
            Self::Int8 => WORD,
            Self::Q8_0 | Self::Q4_0 => 2 * width.div_ceil(BLOCK),
        };
        self.code_bytes(width) + scales.next_multiple_of(WORD)
    }

    /// A row as bytes. Elements must be finite, and of blocks less than 127 (`Q4_0`: 8) times the largest f16.
    pub fn encode(self, x: &[f32]) -> Vec<u8> {
        let mut row = vec![0; self.row_bytes(x.len())];
        let scales = self.code_bytes(x.len());
        if self == Self::Int8 {
            let scale = x.iter().fold(0f32, |m, v| m.max(v.abs())) / 127.0;
            row[scales..].copy_from_slice(&scale.to_le_bytes());
            for (code, v) in row.iter_mut().zip(x).filter(|_| scale > 0.0) {
                *code = (v / scale).round().clamp(-127.0, 127.0) as i8 as u8;
            }
            return row;
        }
        for (at, values) in x.chunks(BLOCK).enumerate() {
            // As in a file: the scale first.
            let mut block = [0; 2 + BLOCK];
            match self {
                Self::Q4_0 => block32::pack_q4_0(values, &mut block),
                _ => q8_0::pack(values, &mut block),
            }
            row[scales + 2 * at..][..2].copy_from_slice(&block[..2]);
            for i in 0..values.len() {
                match self {
                    Self::Q4_0 => {
                        let element = BLOCK * at + i;
                        row[element / 2] |= block32::Q4_0.code(&block, i) << (4 * (element % 2));
                    }
                    _ => row[BLOCK * at + i] = block[2 + i],
                }
            }
        }
        row
    }

    /// The elements of a row, which must have as many bytes as one of `width` elements.
    pub fn decode(self, row: &[u8], width: usize) -> Vec<f32> {
        (0..width).map(|i| self.element(row, width, i) as f32).collect()
    }

    /// The elements of a row whose bytes are numbers, each with how far off a device may have it.
    // f16·int8 is exact in f32. An f32 scale makes one rounding, and one that is denormal may count as 0.
    pub(crate) fn read(self, row: &[f64], width: usize) -> Vec<(f64, f64)> {
        let row: Vec<u8> = row.iter().map(|byte| *byte as u8).collect();
        let denormal = self == Self::Int8 && self.scale(&row, width, 0).abs() < DType::F32.min_normal();
        let value = |i| {
            let v = self.element(&row, width, i);
            (v, if denormal { v.abs() } else { round_error(v, 0.0) })
        };
        (0..width).map(value).collect()
    }

    /// The scale of an element of a row.
    fn scale(self, row: &[u8], width: usize, i: usize) -> f64 {
        let at = self.code_bytes(width);
        match self {
            Self::Int8 => f64::from(f32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]])),
            Self::Q8_0 | Self::Q4_0 => half_at(row, at + 2 * (i / BLOCK)),
        }
    }

    /// An element of a row, exactly.
    fn element(self, row: &[u8], width: usize, i: usize) -> f64 {
        let code = match self {
            Self::Int8 | Self::Q8_0 => f64::from(row[i] as i8),
            Self::Q4_0 => f64::from(row[i / 2] >> (4 * (i % 2)) & 15) - 8.0,
        };
        code * self.scale(row, width, i)
    }

    /// The last axis of `x` as rows: u8 `[.., row_bytes]`, for instance a cache that is there before a call.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` has no axis.
    pub fn quantize(self, x: &Tensor) -> Result<Tensor> {
        let (shape, width) = self.rows(x.shape())?;
        let values = x.to_f32();
        let rows = values.chunks_exact(width.max(1)).flat_map(|row| self.encode(row));
        let bytes =
            if width > 0 { rows.collect() } else { vec![0; crate::tensor::byte_len(DType::U8, &shape)?] };
        Tensor::new(DType::U8, &shape, bytes)
    }

    /// The shape of what rows of a tensor become, and how wide they are.
    fn rows(self, shape: &[usize]) -> Result<(Vec<usize>, usize)> {
        let Some((width, leading)) = shape.split_last() else {
            return Err(Error::Shape(format!(
                "{}: rows need at least 1 axis, but there is none",
                self.name()
            )));
        };
        Ok(([leading, &[self.row_bytes(*width)]].concat(), *width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn numbers(n: usize) -> Vec<f32> {
        let mut rng = Rng::new(7);
        (0..n).map(|_| rng.signed() as f32).collect()
    }

    #[test]
    fn rows_are_whole_words_with_the_scales_behind_the_codes() {
        use CacheForm::{Int8, Q4_0, Q8_0};
        let bytes = |form: CacheForm, width| (form.code_bytes(width), form.row_bytes(width));
        assert_eq!([1, 64, 66].map(|d| bytes(Int8, d)), [(4, 8), (64, 68), (68, 72)]);
        assert_eq!([1, 64, 66, 128].map(|d| bytes(Q8_0, d)), [(4, 8), (64, 68), (68, 76), (128, 136)]);
        assert_eq!(
            [1, 9, 64, 66, 128].map(|d| bytes(Q4_0, d)),
            [(4, 8), (8, 12), (32, 36), (36, 44), (64, 72)]
        );
        for form in CacheForm::ALL {
            assert_eq!((bytes(form, 0).0, CacheForm::from_number(form.number())), (0, Some(form)));
        }
        assert_eq!([0, 4].map(CacheForm::from_number), [None; 2]);
    }

    #[test]
    fn bytes_lie_where_they_are_said_to() {
        let one = 1f32.to_le_bytes();
        assert_eq!(CacheForm::Int8.encode(&[127.0, -2.5, 0.4])[..], [&[127, 253, 0, 0], &one[..]].concat());
        // 1 and 2 as f16, for a block of 32 and one of a single element.
        let x: Vec<f32> = [127.0].into_iter().chain((1..32).map(|i| i as f32)).chain([-254.0]).collect();
        let row = CacheForm::Q8_0.encode(&x);
        assert_eq!((row[0], row[31], row[32], row.len()), (127, 31, 129, 40));
        assert_eq!(row[33..], [0, 0, 0, 0x00, 0x3c, 0x00, 0x40]);
        let x: Vec<f32> = [-8.0, 7.0, 3.0].into_iter().chain([0.0; 29]).chain([16.0]).collect();
        let row = CacheForm::Q4_0.encode(&x);
        // Codes 0 and 15, 11 and 8, and in the next block the lowest again, under -2.
        assert_eq!((row[0], row[1], row[16], row.len()), (0xf0, 0x8b, 0x00, 24));
        assert_eq!(row[17..], [0, 0, 0, 0x00, 0x3c, 0x00, 0xc0]);
    }

    #[test]
    fn blocks_are_those_of_files_in_another_order() {
        let x = numbers(96);
        for form in [CacheForm::Q8_0, CacheForm::Q4_0] {
            let (row, dtype) = (form.encode(&x), form.blocks().unwrap());
            let tensor = Tensor::from_f32(&[1, 96], &x).unwrap();
            let blocks = super::super::quantize(dtype, &tensor).unwrap().to_bytes();
            let values = super::super::dequantize(dtype, &blocks);
            assert_eq!(form.decode(&row, 96), values.iter().map(|v| *v as f32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_decoded_is_encoded_to_the_same_and_near_what_was_there() {
        for form in CacheForm::ALL {
            for width in [0, 1, 5, 31, 32, 33, 64, 70] {
                let x = numbers(width);
                let row = form.encode(&x);
                let back = form.decode(&row, width);
                let codes = if form == CacheForm::Q4_0 { 7.0 } else { 127.0 };
                for (i, (was, is)) in x.iter().zip(&back).enumerate() {
                    let block = &x[i / BLOCK * BLOCK..width.min(i / BLOCK * BLOCK + BLOCK)];
                    let of = if form == CacheForm::Int8 { &x[..] } else { block };
                    let most = of.iter().fold(0f32, |m, v| m.max(v.abs()));
                    assert!((was - is).abs() <= most / codes * 1.01, "{form:?} {width} {i}: {was} {is}");
                }
                let again = form.decode(&form.encode(&back), width);
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * a.abs();
                assert!(back.iter().zip(&again).all(near), "{form:?} {width}");
                let row: Vec<f64> = row.iter().map(|b| f64::from(*b)).collect();
                for ((value, error), is) in form.read(&row, width).into_iter().zip(&back) {
                    assert!((value - f64::from(*is)).abs() <= error && error <= 3e-7 * value.abs());
                    assert!(error == 0.0 || form == CacheForm::Int8);
                }
            }
        }
    }

    #[test]
    fn tensors_become_rows() {
        let x = Tensor::from_f32(&[2, 3, 5], &numbers(30)).unwrap();
        let rows = CacheForm::Q4_0.quantize(&x).unwrap();
        assert_eq!((rows.dtype(), rows.shape()), (DType::U8, &[2, 3, 8][..]));
        assert_eq!(rows.to_bytes()[8..16], CacheForm::Q4_0.encode(&x.to_f32()[5..10]));
        let none = Tensor::from_f32(&[2, 0], &[]).unwrap();
        assert_eq!(CacheForm::Int8.quantize(&none).unwrap().shape(), [2, 4]);
        let scalar = Tensor::from_f32(&[], &[1.0]).unwrap();
        assert!(CacheForm::Int8.quantize(&scalar).is_err());
    }
}

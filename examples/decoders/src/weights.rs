//! Where weights come from: files, or a seed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use half::{bf16, f16};
use tachylite::files::ModelFiles;
use tachylite::plan::prepare::{Store, Weights};
use tachylite::rng::Rng;
use tachylite::{DType, Tensor, formats};

use crate::config::Family;
use crate::graph::Decoder;
use crate::joined::Leaf;
use crate::names::{self, Place};
use crate::{Error, Result};

/// Which type each weight has that is multiplied with.
#[derive(Clone, Copy)]
pub enum Types<'a> {
    /// This one, or where rows are no whole blocks the next that fits; f32 for routers.
    /// The second matrix of a low rank is f16 beside blocks.
    Chosen(DType),
    /// That which it is stored in.
    Of(&'a dyn Store),
}

impl std::fmt::Debug for Types<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chosen(dtype) => write!(f, "Chosen({dtype})"),
            Self::Of(_) => f.write_str("Of(..)"),
        }
    }
}

impl Types<'_> {
    /// The type of a weight.
    ///
    /// # Errors
    /// If it is not stored, or has no kernels.
    pub fn of(&self, name: &str, shape: &[usize]) -> Result<DType> {
        let width = shape.last().copied().unwrap_or(1);
        // Their rows are as long as the rank, and no whole blocks.
        let low_rank = name.contains(".time_mix_") && name.ends_with("2.weight");
        match self {
            Self::Chosen(_) if name.ends_with("ffn_gate_inp.weight") => Ok(DType::F32),
            Self::Chosen(dtype) if dtype.is_blocks() && low_rank => Ok(DType::F16),
            Self::Chosen(dtype) => Ok(formats::fallback(*dtype, width)),
            Self::Of(store) => match store.about(name)? {
                Some((dtype, _)) => Ok(dtype),
                None => Err(Error::new(format!("the model has no tensor `{name}`, which its kind needs"))),
            },
        }
    }
}

/// Random weights of true shapes and types, made block by block as they are asked for: the same for the same seed.
#[derive(Debug, Clone)]
pub struct Random {
    tensors: BTreeMap<String, (DType, Vec<usize>)>,
    seed: u64,
}

impl Random {
    /// All weights that a decoder needs.
    ///
    /// # Errors
    /// If there is a type that no random blocks are made of.
    pub fn of(decoder: &Decoder, seed: u64) -> Result<Self> {
        let leaves = decoder.leaves().into_iter();
        let tensors: BTreeMap<_, _> = leaves.map(|l| (l.name, (l.dtype, l.shape))).collect();
        for (name, (dtype, _)) in &tensors {
            if *dtype != DType::U32 && block(*dtype, 1.0, &mut Rng::new(0)).is_none() {
                return Err(Error::new(format!(
                    "`{name}` is to be {dtype}, of which no random weights are made"
                )));
            }
        }
        Ok(Self { tensors, seed })
    }
}

impl Store for Random {
    fn about(&self, name: &str) -> tachylite::Result<Option<(DType, Vec<usize>)>> {
        Ok(self.tensors.get(name).cloned())
    }

    fn bytes(&self, name: &str, range: Range<u64>) -> tachylite::Result<Cow<'_, [u8]>> {
        let missing = || tachylite::Error::Argument(format!("random: there is no tensor `{name}`"));
        let (dtype, shape) = self.tensors.get(name).ok_or_else(missing)?;
        let each = dtype.block_bytes() as u64;
        let seed = self.seed ^ Rng::hash(name);
        let mut out = Vec::with_capacity((range.end - range.start) as usize);
        let like = Like::of(name, shape);
        for i in range.start / each..range.end / each {
            let mut rng = Rng::new(seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            match like {
                Like::Matrix(most) => match dtype {
                    // Without a block around each, which is most of the time that making them takes.
                    DType::F32 => out.extend(((most * rng.signed()) as f32).to_le_bytes()),
                    DType::F16 => out.extend(f16::from_f64(most * rng.signed()).to_le_bytes()),
                    DType::Bf16 => out.extend(bf16::from_f64(most * rng.signed()).to_le_bytes()),
                    _ => out.extend_from_slice(block(*dtype, most, &mut rng).ok_or_else(missing)?.get()),
                },
                Like::Around { middle, by } => {
                    out.extend(((middle + by * rng.signed()) as f32).to_le_bytes());
                }
            }
        }
        Ok(out.into())
    }
}

/// What numbers are like.
#[derive(Clone, Copy)]
enum Like {
    /// From minus this to this, so that products neither grow nor vanish.
    Matrix(f64),
    /// From `middle - by` to `middle + by`.
    Around { middle: f64, by: f64 },
}

impl Like {
    fn of(name: &str, shape: &[usize]) -> Self {
        let width = shape.last().copied().unwrap_or(1).max(1);
        let is = |part: &str| name.contains(part);
        let gains = (is("norm") || is("_ln") || is("k_k") || is("k_a")) && !name.ends_with("bias");
        match shape.len() {
            _ if gains => Self::Around { middle: 1.0, by: 0.25 },
            _ if is("lerp") => Self::Around { middle: 0.5, by: 0.5 },
            1 => Self::Around { middle: 0.0, by: 0.25 },
            _ if is("r_k") || is("_ln") => Self::Around { middle: 0.0, by: 0.25 },
            _ => Self::Matrix((3.0 / width as f64).sqrt()),
        }
    }
}

/// The bytes of one block; no type has more than 210.
struct Block {
    bytes: [u8; 216],
    len: usize,
}

impl Block {
    fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A block of random codes under scales for values of at most about `most`; `None` for types that are not made.
fn block(dtype: DType, most: f64, rng: &mut Rng) -> Option<Block> {
    let mut out = Block { bytes: [0; 216], len: dtype.block_bytes() };
    if dtype.is_blocks() {
        let codes = out.bytes[..out.len.next_multiple_of(8)].as_chunks_mut::<8>().0;
        codes.iter_mut().for_each(|eight| *eight = rng.next_u64().to_le_bytes());
    }
    let b = &mut out.bytes;
    let mut half = |at: usize, v: f64| b[at..at + 2].copy_from_slice(&f16::from_f64(v).to_le_bytes());
    match dtype {
        DType::F32 => b[..4].copy_from_slice(&((most * rng.signed()) as f32).to_le_bytes()),
        DType::F16 => half(0, most * rng.signed()),
        DType::Bf16 => b[..2].copy_from_slice(&bf16::from_f64(most * rng.signed()).to_le_bytes()),
        DType::Q8_0 | DType::Iq4Nl => half(0, most / 127.0),
        DType::Q4_0 => half(0, most / 8.0),
        DType::Q5_0 => half(0, most / 16.0),
        DType::Q4_1 => [most / 7.5, -most].into_iter().enumerate().for_each(|(i, v)| half(2 * i, v)),
        DType::Q5_1 => [most / 15.5, -most].into_iter().enumerate().for_each(|(i, v)| half(2 * i, v)),
        // Scales and leasts of parts are all the same: 8 of 4 bits, 8 beside the zero at 32, or 32 of 6 bits.
        DType::Q2K => {
            half(80, most / 12.0);
            half(82, most / 8.0);
            b[..16].fill(0x88);
        }
        DType::Q3K => {
            half(108, most / 32.0);
            b[96..104].fill(0x88);
            b[104..108].fill(0xaa);
        }
        DType::Q4K | DType::Q5K => {
            let codes = if dtype == DType::Q4K { 7.5 } else { 15.5 };
            half(0, most / (codes * 32.0));
            half(2, most / 32.0);
            b[4..12].fill(0xa0);
            b[12..16].fill(0);
        }
        DType::Q6K => {
            half(208, most / 1024.0);
            b[192..208].fill(32);
        }
        DType::Mxfp4 => b[0] = (127.0 + (most / 6.0).log2().floor()) as u8,
        _ => return None,
    }
    Some(out)
}

/// Weights of files, by the names that graphs have for them.
#[derive(Debug)]
pub struct Files {
    files: ModelFiles,
    family: Family,
    /// GGUF, or safetensors.
    gguf: bool,
    /// Experts of a layer.
    experts: usize,
}

impl Files {
    /// Of a model of this family, with so many experts in a layer.
    pub fn new(files: ModelFiles, family: Family, gguf: bool, experts: usize) -> Self {
        Self { files, family, gguf, experts }
    }

    fn place(&self, name: &str) -> Option<Place> {
        if self.gguf { Some(names::in_gguf(name)) } else { names::in_safetensors(self.family, name) }
    }

    /// Bytes of a tensor.
    fn length(&self, file_name: &str) -> Option<u64> {
        self.files.contents().tensor(file_name).map(|info| info.range.end - info.range.start)
    }

    /// All of a tensor, as f64.
    fn numbers(&self, file_name: &str) -> Result<Vec<f64>> {
        let missing = || Error::new(format!("the model has no tensor `{file_name}`"));
        let (dtype, shape) = self.files.about(file_name)?.ok_or_else(missing)?;
        let bytes = self.files.bytes(file_name, 0..self.length(file_name).ok_or_else(missing)?)?;
        Ok(Tensor::new(dtype, &shape, bytes.as_ref())?.to_f64())
    }

    /// Those weights of a decoder that files have as another type or shape: gains, biases, mixes; and its own.
    /// Gemma's gains are stored less 1 in safetensors.
    ///
    /// # Errors
    /// If one is missing, or has another number of elements.
    pub fn fitted(&self, decoder: &Decoder) -> Result<Weights> {
        let mut out = decoder.own.clone();
        let less_one = !self.gguf && matches!(self.family, Family::Gemma2 | Family::Gemma3);
        for Leaf { name, shape, .. } in decoder.leaves().into_iter().filter(|l| l.dtype == DType::F32) {
            let as_is = self.about(&name)?.is_some_and(|(t, s)| t == DType::F32 && s == shape);
            let gain = less_one && name.contains("norm");
            if as_is && !gain {
                continue;
            }
            let mut numbers = match self.place(&name) {
                Some(Place::Whole(place)) => self.numbers(&place)?,
                Some(Place::Part { name: place, part }) => {
                    let all = self.numbers(&place)?;
                    let n: usize = shape.iter().product();
                    let part = all.get(part * n..(part + 1) * n).map(<[f64]>::to_vec);
                    part.ok_or_else(|| Error::new(format!("`{place}` has {} elements, too few", all.len())))?
                }
                _ => return Err(Error::new(format!("the model has no tensor `{name}`"))),
            };
            if numbers.len() != shape.iter().product::<usize>() {
                return Err(Error::new(format!(
                    "`{name}` has {} elements, but the configuration asks for {shape:?}",
                    numbers.len()
                )));
            }
            if gain {
                numbers.iter_mut().for_each(|g| *g += 1.0);
            }
            out.insert(name, Tensor::from_f64(DType::F32, &shape, &numbers)?);
        }
        Ok(out)
    }
}

impl Store for Files {
    fn about(&self, name: &str) -> tachylite::Result<Option<(DType, Vec<usize>)>> {
        match self.place(name) {
            Some(Place::Whole(name)) => self.files.about(&name),
            Some(Place::Experts(pattern)) => {
                let first = self.files.about(&pattern.replace('@', "0"))?;
                Ok(first.map(|(dtype, shape)| (dtype, [&[self.experts], shape.as_slice()].concat())))
            }
            _ => Ok(None),
        }
    }

    fn bytes(&self, name: &str, range: Range<u64>) -> tachylite::Result<Cow<'_, [u8]>> {
        let missing = || tachylite::Error::Argument(format!("the model has no tensor `{name}`"));
        match self.place(name) {
            Some(Place::Whole(name)) => self.files.bytes(&name, range),
            Some(Place::Experts(pattern)) => {
                let each = self.length(&pattern.replace('@', "0")).ok_or_else(missing)?;
                let mut out = Vec::with_capacity((range.end - range.start) as usize);
                let (mut at, end) = (range.start, range.end);
                while at < end && each > 0 {
                    let (expert, from) = (at / each, at % each);
                    let to = (from + end - at).min(each);
                    let part = pattern.replace('@', &expert.to_string());
                    out.extend_from_slice(&self.files.bytes(&part, from..to)?);
                    at += to - from;
                }
                Ok(out.into())
            }
            _ => Err(missing()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_blocks_are_as_large_as_they_shall_be() {
        let types = "f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q2_k q3_k q4_k q5_k q6_k iq4_nl mxfp4";
        for dtype in types.split(' ').map(|t| DType::parse(t).unwrap()) {
            let mut rng = Rng::new(7);
            let shape = [1, 256 * dtype.block().min(1)];
            let count = 256 / dtype.block();
            let bytes: Vec<u8> =
                (0..count).flat_map(|_| block(dtype, 0.1, &mut rng).unwrap().get().to_vec()).collect();
            let values = Tensor::new(dtype, &shape, bytes).unwrap().to_f64();
            let most = values.iter().fold(0f64, |m, v| m.max(v.abs()));
            let mean = values.iter().sum::<f64>() / 256.0;
            assert!((0.05..0.12).contains(&most) && mean.abs() < 0.02, "{dtype}: {most}, {mean}");
        }
    }
}

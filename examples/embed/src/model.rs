//! The model as it lies in a folder: the tokenizer, and the weights by name. It never runs anything.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use tachylite::formats::{i8, q8_0};
use tachylite::plan::prepare::Weights;
use tachylite::{DType, Tensor};
use tokenizers::{Tokenizer, TruncationParams};

use crate::startup::Timeline;
use crate::{Error, Result};

/// Encoder layers.
pub const LAYERS: usize = 6;
/// Components of a token's vector, and of the embedding.
pub const HIDDEN: usize = 384;
/// Attention heads.
pub const HEADS: usize = 12;
/// Width of the feed-forward layer.
pub const INNER: usize = 1536;
/// Rows of the word table.
pub const VOCABULARY: usize = 30522;
/// Rows of the position table.
pub const POSITIONS: usize = 512;
/// Rows of the token-type table; a single sentence has type 0 throughout.
pub const TYPES: usize = 2;
/// The most tokens that the model was trained on; what is longer is cut.
pub const MAX_TOKENS: usize = 256;
/// The epsilon of its layer norms.
pub const EPS: f32 = 1e-12;

/// How the weights are stored on the device. Activations are f32 whatever this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum WeightType {
    /// As published.
    #[default]
    F32,
    /// The linear layers and the word and position tables rounded to f16.
    F16,
    /// The linear layers as int8 with one scale per output channel.
    Int8,
    /// The linear layers as GGUF `Q8_0` blocks.
    #[value(name = "q8_0")]
    Q8_0,
}

impl WeightType {
    /// The type of a linear layer's `weight`.
    pub const fn linear(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Int8 => DType::I8,
            Self::Q8_0 => DType::Q8_0,
        }
    }

    /// The type of the word and position tables.
    pub const fn table(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            _ => DType::F32,
        }
    }

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Q8_0 => "q8_0",
        }
    }
}

/// The tokenizer and the published weights.
#[derive(Debug)]
pub struct Model {
    tokenizer: Tokenizer,
    tensors: BTreeMap<String, Tensor>,
}

impl Model {
    /// Reads `tokenizer.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// If the folder, a file or a tensor is missing, cannot be read, or has another shape or type
    /// than all-MiniLM-L6-v2's.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_timed(folder, &Timeline::begin())
    }

    /// [`open`](Self::open), both files at once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_timed(folder: &Path, times: &Timeline) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::new(format!(
                "there is no folder `{}` with the model; examples/embed/README.md says how to get it",
                folder.display()
            )));
        }
        let read_tokenizer = || tokenizer(&read(folder, "tokenizer.json")?);
        let read_tensors = || tensors(&read(folder, "model.safetensors")?);
        let (tokenizer, tensors) = std::thread::scope(|scope| {
            let tensors = scope.spawn(|| times.time("read the weights", read_tensors));
            let tokenizer = times.time("read the tokenizer", read_tokenizer);
            (tokenizer, tensors.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        Ok(Self { tokenizer: tokenizer?, tensors: tensors? })
    }

    /// The tokens of a text, `[CLS]` and `[SEP]` included, at most [`MAX_TOKENS`].
    ///
    /// # Errors
    /// If the tokenizer fails, or makes a token that the word table has no row for.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode(text, true).map_err(|e| failed("tokenizer.json", &*e))?;
        let ids = encoding.get_ids();
        match ids.iter().find(|id| **id as usize >= VOCABULARY) {
            Some(id) => Err(Error::new(format!(
                "tokenizer.json: makes token {id}, but the model's word table has {VOCABULARY} rows"
            ))),
            None => Ok(ids.to_vec()),
        }
    }

    /// The weights that [`graph::encoder`](crate::graph::encoder) names.
    ///
    /// # Errors
    /// If a tensor cannot be quantised, which only happens to tensors of another model.
    pub fn weights(&self, weight_type: WeightType) -> Result<Weights> {
        let mut weights = Weights::new();
        for (name, tensor) in &self.tensors {
            let linear = is_linear(name);
            let stored = match weight_type {
                WeightType::F16 if linear || is_table(name) => tensor.cast(DType::F16)?,
                WeightType::Q8_0 if linear => q8_0::quantize(tensor)?,
                WeightType::Int8 if linear => {
                    let (values, scales) = i8::quantize(tensor)?;
                    weights.insert(scale_name(name), scales);
                    values
                }
                _ => tensor.clone(),
            };
            weights.insert(name.clone(), stored);
        }
        Ok(weights)
    }
}

/// The name of the scales that go with an int8 weight.
pub fn scale_name(weight: &str) -> String {
    weight.strip_suffix("weight").unwrap_or(weight).to_owned() + "scale"
}

fn is_linear(name: &str) -> bool {
    name.starts_with("encoder.layer.") && name.ends_with(".weight") && !name.contains("LayerNorm")
}

fn is_table(name: &str) -> bool {
    name.ends_with("word_embeddings.weight") || name.ends_with("position_embeddings.weight")
}

fn read(folder: &Path, file: &str) -> Result<Vec<u8>> {
    let path = folder.join(file);
    std::fs::read(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::new(format!(
            "there is no `{file}` in `{}`; examples/embed/README.md says how to get the model",
            folder.display()
        )),
        _ => Error::new(format!("`{}` cannot be read: {e}", path.display())),
    })
}

fn failed(file: &str, e: &dyn std::fmt::Display) -> Error {
    let reason = e.to_string();
    Error::new(format!("{file}: {}", reason.lines().collect::<Vec<_>>().join(" ")))
}

/// The file's own truncation to 128 tokens and padding to 128 are not the model's.
fn tokenizer(bytes: &[u8]) -> Result<Tokenizer> {
    let failed = |e: tokenizers::Error| failed("tokenizer.json", &*e);
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(failed)?;
    tokenizer.with_padding(None);
    let truncation = TruncationParams { max_length: MAX_TOKENS, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(failed)?;
    Ok(tokenizer)
}

fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    const FILE: &str = "model.safetensors";
    let file = SafeTensors::deserialize(bytes).map_err(|e| failed(FILE, &e))?;
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let view =
            file.tensor(&name).map_err(|_| Error::new(format!("{FILE}: there is no tensor `{name}`")))?;
        if view.dtype() != Dtype::F32 {
            return Err(Error::new(format!("{FILE}: `{name}` is {:?}, but it must be F32", view.dtype())));
        }
        if view.shape() != shape {
            return Err(Error::new(format!(
                "{FILE}: `{name}` has shape {:?}, but all-MiniLM-L6-v2 has {shape:?}",
                view.shape()
            )));
        }
        Ok((name, Tensor::new(DType::F32, &shape, view.data())?))
    };
    published().into_iter().map(tensor).collect()
}

/// Every tensor of the model by the name that it was published under. The pooler is not used.
fn published() -> Vec<(String, Vec<usize>)> {
    let mut list = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![TYPES, HIDDEN]),
        ("embeddings.LayerNorm.weight".to_owned(), vec![HIDDEN]),
        ("embeddings.LayerNorm.bias".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let mut add = |name: &str, shape: Vec<usize>| {
            list.push((format!("encoder.layer.{layer}.{name}.bias"), vec![shape[0]]));
            list.push((format!("encoder.layer.{layer}.{name}.weight"), shape));
        };
        for name in ["query", "key", "value"] {
            add(&format!("attention.self.{name}"), vec![HIDDEN, HIDDEN]);
        }
        add("attention.output.dense", vec![HIDDEN, HIDDEN]);
        add("attention.output.LayerNorm", vec![HIDDEN]);
        add("intermediate.dense", vec![INNER, HIDDEN]);
        add("output.dense", vec![HIDDEN, INNER]);
        add("output.LayerNorm", vec![HIDDEN]);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_36_linear_layers_and_every_parameter_but_the_poolers() {
        let list = published();
        assert_eq!(list.iter().filter(|(name, _)| is_linear(name)).count(), 36);
        assert_eq!(list.iter().filter(|(name, _)| is_table(name)).count(), 2);
        let elements: usize = list.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(elements, 22_713_216 - HIDDEN * HIDDEN - HIDDEN);
    }

    #[test]
    fn what_is_missing_is_named() {
        let e = Model::open(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(e.starts_with("there is no folder `/nowhere`"), "{e}");
        let e = tensors(b"not a model").unwrap_err().to_string();
        assert!(e.starts_with("model.safetensors: ") && !e.contains('\n'), "{e}");
        assert!(tokenizer(b"{}").unwrap_err().to_string().starts_with("tokenizer.json: "));
    }
}

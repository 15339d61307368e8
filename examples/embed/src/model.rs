//! The model as it lies in a folder: the tokenizer, and the weights by name. It never runs anything.

use std::collections::BTreeMap;
use std::path::Path;

use tachylite::plan::prepare::Weights;
use tachylite::{DType, Tensor, files};
use tokenizers::{Tokenizer, TruncationParams};

use crate::inputs::{Inputs, in_parallel};
use crate::startup::Timeline;
use crate::weights::{self, Types, WeightType, device_type};
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

/// The files that weights are read from, whichever is there first.
const FILES: [&str; 2] = ["model.safetensors", "model.gguf"];

/// The tokenizer and the weights.
#[derive(Debug, Clone)]
pub struct Model {
    tokenizer: Tokenizer,
    tensors: BTreeMap<String, Tensor>,
}

impl Model {
    /// Reads `tokenizer.json`, and `model.safetensors` or `model.gguf`, of a folder; or, of a path to a file of
    /// weights, that and the `tokenizer.json` beside it.
    ///
    /// # Errors
    /// If the folder, a file or a tensor is missing, cannot be read, or has another shape or type
    /// than all-MiniLM-L6-v2's.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_timed(path, &Timeline::begin())
    }

    /// [`open`](Self::open), both files at once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_timed(path: &Path, times: &Timeline) -> Result<Self> {
        let (folder, file) = place(path)?;
        let read_tokenizer = || tokenizer(&read(folder, "tokenizer.json")?);
        let read_tensors = || tensors(&file, &read(folder, &file)?);
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

    /// The type that each weight has in a file of these types.
    pub fn file_types(&self, weight_type: WeightType) -> Types {
        let of =
            |(name, t): (&String, &Tensor)| (name.clone(), weight_type.file_type(name, t.shape(), t.dtype()));
        self.tensors.iter().map(of).collect()
    }

    /// The type that each has on the device.
    pub fn types(&self, weight_type: WeightType) -> Types {
        let types = self.file_types(weight_type).into_iter();
        types.map(|(name, dtype)| (name, device_type(dtype))).collect()
    }

    /// The weights that [`graph::encoder`](crate::graph::encoder) names.
    ///
    /// Matrices are made for `inputs`, if those are known.
    ///
    /// # Errors
    /// If a tensor cannot be quantised, which only happens to tensors of another model.
    pub fn weights(&self, weight_type: WeightType, inputs: Option<&Inputs>) -> Result<Weights> {
        let one = |(name, tensor): (&String, &Tensor)| {
            let to = weight_type.file_type(name, tensor.shape(), tensor.dtype());
            weights::convert(name, tensor, to, inputs.and_then(|known| known.of(name)))
        };
        Ok(in_parallel(self.tensors.iter().collect(), one)?.into_iter().flatten().collect())
    }
}

pub(crate) fn is_linear(name: &str) -> bool {
    name.starts_with("encoder.layer.") && name.ends_with(".weight") && !name.contains("LayerNorm")
}

pub(crate) fn is_table(name: &str) -> bool {
    is_word_table(name) || name.ends_with("position_embeddings.weight")
}

pub(crate) fn is_word_table(name: &str) -> bool {
    name.ends_with("word_embeddings.weight")
}

/// The folder of a model, and the name of the file with the weights.
fn place(path: &Path) -> Result<(&Path, String)> {
    if path.is_dir() {
        let there = FILES.into_iter().find(|f| path.join(f).exists());
        return Ok((path, there.unwrap_or(FILES[0]).to_owned()));
    }
    match (path.is_file(), path.file_name(), path.parent()) {
        (true, Some(name), Some(folder)) => Ok((folder, name.to_string_lossy().into_owned())),
        _ => Err(Error::new(format!(
            "there is no folder `{}` with the model; examples/embed/README.md says how to get it",
            path.display()
        ))),
    }
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

fn tensors(file: &str, bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let model = files::Model::new(&[(file, bytes)])?;
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let Some(info) = model.contents().tensor(&name) else {
            return Err(Error::new(format!("{file}: there is no tensor `{name}`")));
        };
        let encoding = info.encoding;
        // Integers without a scale are no weights, and of vectors nobody makes blocks.
        let held = encoding
            .dtype()
            .filter(|d| d.is_float() || *d == DType::Bf16 || (shape.len() == 2 && d.is_blocks()));
        let Some(dtype) = held else {
            return Err(Error::new(format!("{file}: `{name}` is {encoding}, which no such weight is")));
        };
        if info.shape != shape {
            return Err(Error::new(format!(
                "{file}: `{name}` has shape {:?}, but all-MiniLM-L6-v2 has {shape:?}",
                info.shape
            )));
        }
        let tensor = model.tensor(&name)?;
        let plain = !is_linear(&name) && !is_table(&name) && dtype != DType::F32;
        Ok((name, if plain { tensor.cast(DType::F32)? } else { tensor }))
    };
    published().into_iter().map(tensor).collect()
}

/// Every tensor of the model by the name that it was published under. The pooler is not used.
pub(crate) fn published() -> Vec<(String, Vec<usize>)> {
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
        let e = tensors("model.safetensors", b"not a model").unwrap_err().to_string();
        assert!(e.starts_with("model.safetensors: ") && !e.contains('\n'), "{e}");
        assert!(tokenizer(b"{}").unwrap_err().to_string().starts_with("tokenizer.json: "));
    }
}

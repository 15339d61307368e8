//! A model: what it is like, and where its weights are.

use std::path::{Path, PathBuf};

use tachylite::DType;
use tachylite::files::{Format, ModelFiles};
use tachylite::plan::prepare::Store;

use crate::config::Config;
use crate::graph::{self, Decoder, Shape};
use crate::joined::{Layered, Rest};
use crate::weights::{Files, Random, Types};
use crate::{Error, Result, read};

/// What it is like, and where its weights are.
#[derive(Debug)]
pub struct Model {
    config: Config,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Random { dtype: DType, seed: u64 },
    Files(Files),
}

impl Model {
    /// Opens a GGUF file; or a folder with `config.json` and `model.safetensors`, or its index.
    ///
    /// # Errors
    /// If files cannot be read, or are of a model that is not known here.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Self::open_folder(path);
        }
        let files = ModelFiles::open(path)?;
        if !matches!(files.contents().format(), Format::Gguf { .. }) {
            let path = path.display();
            return Err(Error::new(format!(
                "{path} says not what its model is like: give its folder, with config.json"
            )));
        }
        let config = read::gguf(&files).map_err(|e| Error::new(format!("{}: {e}", path.display())))?;
        Ok(Self::of_files(config, files, true))
    }

    fn open_folder(folder: &Path) -> Result<Self> {
        let place = folder.join("config.json");
        let cannot =
            |path: &PathBuf, e: &dyn std::fmt::Display| Error::new(format!("{}: {e}", path.display()));
        let text = std::fs::read_to_string(&place).map_err(|e| cannot(&place, &e))?;
        let json = serde_json::from_str(&text).map_err(|e| cannot(&place, &e))?;
        let config = read::json(&json).map_err(|e| cannot(&place, &e))?;
        let index = folder.join("model.safetensors.index.json");
        let file = if index.exists() { index } else { folder.join("model.safetensors") };
        Ok(Self::of_files(config, ModelFiles::open(&file)?, false))
    }

    fn of_files(config: Config, files: ModelFiles, gguf: bool) -> Self {
        let experts = match &config {
            Config::Transformer(t) => t.experts.map_or(0, |e| e.count),
            Config::Rwkv7(_) => 0,
        };
        let source = Source::Files(Files::new(files, config.family(), gguf, experts));
        Self { config, source }
    }

    /// Random weights in the shapes of a model: matrices of one type, as far as their rows are whole blocks of it.
    pub fn random(config: Config, dtype: DType, seed: u64) -> Self {
        Self { config, source: Source::Random { dtype, seed } }
    }

    /// What it is like.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its graph.
    ///
    /// # Errors
    /// If a tensor is missing, or has a type without kernels.
    pub fn decoder(&self, shape: Shape) -> Result<Decoder> {
        let types = match &self.source {
            Source::Random { dtype, .. } => Types::Chosen(*dtype),
            Source::Files(files) => Types::Of(files),
        };
        graph::decoder(&self.config, &types, shape)
    }

    /// Does something with the weights of a graph of its: those that the graph has, and those that they are made
    /// of.
    ///
    /// # Errors
    /// If a weight is missing or does not fit; those of `work`.
    pub fn with_weights<T>(
        &self,
        decoder: &Decoder,
        work: impl FnOnce(&dyn Store) -> Result<T>,
    ) -> Result<T> {
        match &self.source {
            Source::Random { seed, .. } => {
                let random = Random::of(decoder, *seed)?;
                work(&Layered { own: decoder.own.clone(), joined: &decoder.joined, rest: Rest(&random) })
            }
            Source::Files(files) => {
                work(&Layered { own: files.fitted(decoder)?, joined: &decoder.joined, rest: Rest(files) })
            }
        }
    }
}

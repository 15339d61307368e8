//! Decoders of language models as Tachylite graphs: Llama 3, Qwen3, Gemma 2 and 3, mixtures of experts, RWKV-7.
//!
//! ```no_run
//! # fn main() -> decoders::Result<()> {
//! use decoders::{Model, Session, session::Options};
//!
//! let gpu = tachylite::Gpu::open_blocking("gpu")?;
//! let model = Model::open(std::path::Path::new("llama-3.2-1b-q8_0.gguf"))?;
//! let mut session = Session::new(&gpu, &model, &Options::default())?;
//! session.prefill(&[128_000, 9906])?; // tokens of the prompt
//! for _ in 0..16 {
//!     println!("{}", session.next_tokens()?[0]); // the token that is likeliest to come next,
//!     session.step()?; // and goes in
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`config`] says what a model is like, [`read`] learns it from files, [`names`] what its tensors are called,
//! [`weights`] where they come from (files, or a seed), [`joined`] which of them are one in a graph, [`graph`]
//! and [`rwkv7`] what is computed, [`session`] runs it on a GPU, [`cost`] says how much a token must read. Nothing
//! here knows how a kernel works.

pub mod config;
pub mod cost;
pub mod graph;
pub mod joined;
pub mod model;
pub mod names;
pub mod read;
pub mod rwkv7;
pub mod session;
pub mod weights;

pub use config::Config;
pub use graph::{Decoder, Draw, Shape, Tokens};
pub use model::Model;
pub use session::Session;

/// What went wrong, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error that says this.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<tachylite::Error> for Error {
    fn from(e: tachylite::Error) -> Self {
        Self(e.to_string())
    }
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

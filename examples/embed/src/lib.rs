//! A sentence encoder: all-MiniLM-L6-v2 on Tachylite. Text in, vectors of length one out; the dot
//! product of two of them says how near their sentences are in meaning.
//!
//! ```no_run
//! # fn main() -> embed::Result<()> {
//! let model = embed::Model::open(std::path::Path::new("minilm"))?;
//! let mut encoder = embed::Encoder::new(model, &embed::Options::default())?;
//! let rows = encoder.encode(&["A man is eating food.", "Someone eats."], |_| {})?;
//! println!("{}", embed::search::dot(&rows[0], &rows[1]));
//! # Ok(())
//! # }
//! ```
//!
//! [`model`] reads a folder, [`weights`] says which types there are, [`graph`] says what is computed,
//! [`encoder`] batches lines and runs the graph, [`startup`] gets there soon, [`search`] ranks, [`measure`]
//! times, [`compare`] says what types of weights cost and gain. Nothing here knows how a kernel works.

pub mod compare;
pub mod encoder;
pub mod graph;
pub mod inputs;
pub mod measure;
pub mod model;
pub mod search;
pub mod startup;
pub mod text;
pub mod weights;

pub use encoder::{Encoder, Options};
pub use model::Model;
pub use weights::WeightType;

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

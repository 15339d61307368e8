//! Model files: what is in a GGUF or safetensors file, or in the several files of one model.
//!
//! Readers work on bytes and believe nothing: a hostile file is refused in one sentence that names the file, the
//! offset and the field, and no memory is taken for a number that the bytes there do not bear out. Nothing here
//! computes with weights; [`Encoding`] lists also what the library has no kernels for, so that files of any types
//! open.
//!
//! - [`Model`] views files that are in memory, or mapped; [`ModelFiles`] reads what it needs of files on a disk.
//!   Both have the same [`Contents`], and both are a [`Store`](crate::plan::prepare::Store) of weights, which
//!   devices load from without all of a tensor in memory.
//! - [`GgufWriter`] writes a file that is there whole or not at all.
//! - [`quantize`] and [`dequantize`] turn values into bytes of a type and back; [`Loss`] says what that cost.

use std::fmt::Display;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::tensor::Tensor;

mod convert;
mod cursor;
#[cfg(not(target_arch = "wasm32"))]
mod disk;
mod encoding;
mod gguf;
#[cfg(feature = "safetensors")]
mod safetensors;
#[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "names of files are for disks"))]
mod shards;
mod store;
mod value;
mod write;

pub use convert::{Loss, dequantize, quantize};
#[cfg(not(target_arch = "wasm32"))]
pub use disk::ModelFiles;
pub use encoding::Encoding;
pub use value::{Array, Value};
#[cfg(not(target_arch = "wasm32"))]
pub use write::GgufWriter;
pub use write::{TensorSpec, gguf_header};

use cursor::Stop;

/// No header is longer: 100 MB, as safetensors has it. Vocabularies take about a tenth.
const HEADER_MAX: u64 = 100_000_000;
/// Bytes of a tensor's name or a key: what GGUF allows a key.
const NAME_MAX: usize = 65_535;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// GGUF, little-endian.
    Gguf {
        /// 2 or 3.
        version: u32,
    },
    /// safetensors.
    Safetensors,
}

impl Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gguf { version } => write!(f, "GGUF v{version}"),
            Self::Safetensors => f.write_str("safetensors"),
        }
    }
}

/// One of the files of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What messages call it.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
}

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Its name; no other of the model has the same.
    pub name: String,
    /// How its elements lie.
    pub encoding: &'static Encoding,
    /// The size of each axis, outermost first; the last is contiguous.
    pub shape: Vec<usize>,
    /// Which of [`Contents::parts`] it lies in.
    pub part: usize,
    /// Its bytes in that file.
    pub range: Range<u64>,
}

/// What files hold: metadata, and where the tensors are.
#[derive(Debug, Clone)]
pub struct Contents {
    format: Format,
    metadata: Vec<(String, Value)>,
    tensors: Vec<TensorInfo>,
    parts: Vec<Part>,
    /// Indices of `tensors` by name.
    sorted: Vec<usize>,
    /// Where the first file has each key of its metadata; nothing of safetensors.
    places: Vec<u64>,
}

impl Contents {
    /// The format of the files.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Keys and values, as the first file has them in order; of safetensors, the strings of `__metadata__`.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Where the first file has a key; 0 if that is not known.
    fn place(&self, key: &str) -> u64 {
        let found = self.metadata.iter().zip(&self.places).find(|((k, _), _)| k == key);
        found.map_or(0, |(_, at)| *at)
    }

    /// Every tensor, in the order of the files.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let found = self.sorted.binary_search_by(|i| self.tensors[*i].name.as_str().cmp(name)).ok()?;
        self.tensors.get(self.sorted[found])
    }

    /// The files.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

/// A model whose files are in memory.
#[derive(Debug, Clone)]
pub struct Model<'a> {
    contents: Contents,
    bytes: Vec<&'a [u8]>,
}

impl<'a> Model<'a> {
    /// Reads a model from its files, each with the name that messages call it, in order: one file, or all the
    /// parts of a split one. The order of the parts of safetensors is free.
    ///
    /// # Errors
    /// [`Error::File`] with the file, the offset and the field.
    pub fn new(files: &[(&str, &'a [u8])]) -> Result<Self> {
        let read = |(name, bytes): &(&str, &[u8])| match contents(name, bytes, bytes.len() as u64) {
            Ok(contents) => Ok(contents),
            Err(Stop::Wrong(e)) => Err(e),
            Err(Stop::Short(n)) => Err(wrong(name, 0, "header", format_args!("{n} bytes are needed"))),
        };
        let contents = shards::join(files.iter().map(read).collect::<Result<_>>()?)?;
        Ok(Self { contents, bytes: files.iter().map(|(_, bytes)| *bytes).collect() })
    }

    /// What the files hold.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The bytes of a tensor; `None` for one of another model that does not lie in this one.
    pub fn bytes(&self, tensor: &TensorInfo) -> Option<&'a [u8]> {
        let range = usize::try_from(tensor.range.start).ok()?..usize::try_from(tensor.range.end).ok()?;
        self.bytes.get(tensor.part)?.get(range)
    }

    /// A tensor as the library has it, its bytes copied.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no tensor of that name, or the library has no such type; [`Error::File`]
    /// with the block and its offset if a block stands for values that are not finite.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let info = self.contents.tensor(name);
        let info =
            info.ok_or_else(|| Error::Argument(format!("model: there is no tensor `{}`", shown(name))))?;
        let dtype = store::dtype(info)?;
        let bytes = self.bytes(info).ok_or_else(|| store::past(info))?;
        store::check_finite(&self.contents, info, 0, bytes)?;
        Tensor::new(dtype, &info.shape, bytes)
    }
}

/// Reads the header of one file from its first bytes.
fn contents(name: &str, bytes: &[u8], total: u64) -> Result<Contents, Stop> {
    let wrong = |what: std::fmt::Arguments<'_>| Err(Stop::Wrong(wrong(name, 0, "magic", what)));
    if total == 0 {
        return wrong(format_args!("the file is empty"));
    }
    if total < 8 {
        return wrong(format_args!("the file ends after {total} bytes, before that of any format"));
    }
    let Some(head) = bytes.first_chunk::<8>() else { return Err(Stop::Short(8)) };
    if head.starts_with(gguf::MAGIC) {
        return gguf::read(name, bytes, total);
    }
    if [b"tjgg", b"lmgg", b"algg", b"fmgg"].iter().any(|old| head.starts_with(*old)) {
        return wrong(format_args!("is that of ggml's files before GGUF, which are not read"));
    }
    // A safetensors file has the length of its header first, and then JSON, perhaps after blanks.
    match bytes.get(8) {
        Some(b'{') => {}
        None if total > 8 => return Err(Stop::Short(9)),
        _ => return wrong(format_args!("is {head:02x?}, which is neither GGUF's nor a length before JSON")),
    }
    #[cfg(feature = "safetensors")]
    return safetensors::read(name, bytes, total);
    #[cfg(not(feature = "safetensors"))]
    wrong(format_args!("is that of safetensors, which this build does not read"))
}

/// What a file did wrong, in one sentence.
fn wrong(file: &str, at: u64, field: impl Display, what: impl Display) -> Error {
    Error::File(one_line(&format!("{file}: offset {at}: {field}: {what}")))
}

/// Text from a file as part of a sentence: escaped, and cut where it grows long.
fn shown(text: &str) -> Shown<'_> {
    Shown(text)
}

struct Shown<'a>(&'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const LONGEST: usize = 80;
        let mut characters = self.0.chars();
        for c in characters.by_ref().take(LONGEST) {
            write!(f, "{}", c.escape_debug())?;
        }
        if characters.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

/// A sentence without line breaks, and of bounded length, whatever was put into it.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 600;
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out: String = clean.take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

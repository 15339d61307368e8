//! A suite's tensors: a `.safetensors` file, read whole, and what a manifest says of each tensor.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata};
use serde_json::Value;

/// The largest file that is read: suites are small, and a length in a file is only a claim.
const MAX_BYTES: u64 = 1 << 30;
/// The most elements that a tensor may have, an axis of 0 counted as 1: what is worked out from sizes alone
/// must not be large either.
pub(super) const MAX_ELEMENTS: usize = 1 << 26;
/// Whole numbers up to here are exact in f32.
pub(super) const EXACT: i128 = 1 << 24;

/// A file of tensors.
#[derive(Debug)]
pub(super) struct Data {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where the tensors begin.
    start: usize,
    index: Metadata,
}

/// The bytes of a file that is not larger than a suite's may be.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?.len();
    if size > MAX_BYTES {
        return Err(format!("{}: it has {size} bytes, but at most {MAX_BYTES} are read", path.display()));
    }
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

impl Data {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, String> {
        let bytes = read(path)?;
        let (header, index) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| format!("{}: not a safetensors file: {e}", path.display()))?;
        Ok(Self { path: path.to_owned(), start: header + 8, bytes, index })
    }

    /// The tensor that a manifest refers to as `{tensor, dtype, shape}`; the file must agree.
    pub fn referred(&self, what: &str, reference: &Value) -> Result<Host, String> {
        let field = |name: &str| reference.get(name).ok_or_else(|| format!("{what}: `{name}` is missing"));
        let key = field("tensor")?.as_str().ok_or_else(|| format!("{what}.tensor: must be text"))?;
        let logical = field("dtype")?.as_str().ok_or_else(|| format!("{what}.dtype: must be text"))?;
        let tensor = self.tensor(what, key)?;
        let shape = sizes(&format!("{what}.shape"), field("shape")?)?;
        if shape != tensor.shape {
            let path = self.path.display();
            return Err(format!(
                "{what}: its shape is {shape:?}, but `{key}` in {path} has {:?}",
                tensor.shape
            ));
        }
        Ok(Host { logical: logical.to_owned(), ..tensor })
    }

    /// The tensor of a name, whose logical type is the stored one.
    pub fn tensor(&self, what: &str, key: &str) -> Result<Host, String> {
        let path = self.path.display();
        let info = self.index.info(key).ok_or_else(|| format!("{what}: {path} has no tensor `{key}`"))?;
        if info.shape.iter().fold(1usize, |n, size| n.saturating_mul((*size).max(1))) > MAX_ELEMENTS {
            return Err(format!("{what}: `{key}` in {path} has sizes {:?}, which are too large", info.shape));
        }
        // Checked against the file's length when it was opened.
        let (from, to) = (self.start + info.data_offsets.0, self.start + info.data_offsets.1);
        let bytes = self.bytes.get(from..to).ok_or_else(|| format!("{what}: `{key}` leaves {path}"))?;
        Ok(Host {
            key: key.to_owned(),
            logical: format!("{:?}", info.dtype).to_lowercase(),
            stored: info.dtype,
            shape: info.shape.clone(),
            bytes: bytes.to_vec(),
        })
    }
}

/// A list of sizes in a manifest.
pub(super) fn sizes(what: &str, value: &Value) -> Result<Vec<usize>, String> {
    let size = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
    let all = value.as_array().and_then(|list| list.iter().map(size).collect::<Option<Vec<_>>>());
    all.ok_or_else(|| format!("{what}: must be a list of sizes"))
}

/// A tensor of a suite.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// Its name in the file.
    pub key: String,
    /// What its elements mean: `f32`, `i64`, `u4`, `f8e4m3fn`, ….
    pub logical: String,
    /// How they are stored.
    pub stored: Dtype,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Host {
    /// Whether elements are whole numbers, of any width.
    pub fn is_integer(&self) -> bool {
        let digits = self.logical.strip_prefix(['i', 'u']);
        digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
    }

    /// Whether elements are true or false.
    pub fn is_bool(&self) -> bool {
        self.logical == "bool"
    }

    /// Some of the elements of a tensor with one axis; those that it has.
    pub fn picked(&self, places: &[usize]) -> Self {
        let size = self.bytes.len() / self.len().max(1);
        let there: Vec<_> = places.iter().filter_map(|p| self.bytes.get(p * size..(p + 1) * size)).collect();
        Self { shape: vec![there.len()], bytes: there.concat(), ..self.clone() }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Every element, or why it has no number that we know: f64, or whole numbers up to 2⁵³.
    pub fn numbers(&self) -> Result<Vec<f64>, String> {
        if self.is_integer() {
            return Ok(self.integers()?.into_iter().map(|v| v as f64).collect());
        }
        let float = matches!(self.logical.as_str(), "f64" | "f32" | "f16" | "bf16" | "bool");
        if !float {
            return Err(format!("type {}", self.logical));
        }
        Ok(match self.stored {
            Dtype::F64 => self.each(f64::from_le_bytes),
            Dtype::F32 => self.each(|b| f64::from(f32::from_le_bytes(b))),
            Dtype::F16 => self.each(|b| f16::from_le_bytes(b).to_f64()),
            Dtype::BF16 => self.each(|b| bf16::from_le_bytes(b).to_f64()),
            Dtype::BOOL => self.bytes.iter().map(|b| f64::from(u8::from(*b != 0))).collect(),
            other => return Err(format!("type {} stored as {other:?}", self.logical)),
        })
    }

    /// Every element of a tensor of whole numbers or booleans.
    pub fn integers(&self) -> Result<Vec<i128>, String> {
        Ok(match self.stored {
            Dtype::I64 => self.each(|b| i128::from(i64::from_le_bytes(b))),
            Dtype::I32 => self.each(|b| i128::from(i32::from_le_bytes(b))),
            Dtype::I16 => self.each(|b| i128::from(i16::from_le_bytes(b))),
            Dtype::I8 => self.bytes.iter().map(|b| i128::from(*b as i8)).collect(),
            Dtype::U64 => self.each(|b| i128::from(u64::from_le_bytes(b))),
            Dtype::U32 => self.each(|b| i128::from(u32::from_le_bytes(b))),
            Dtype::U16 => self.each(|b| i128::from(u16::from_le_bytes(b))),
            Dtype::U8 => self.bytes.iter().map(|b| i128::from(*b)).collect(),
            Dtype::BOOL => self.bytes.iter().map(|b| i128::from(*b != 0)).collect(),
            other => return Err(format!("type {} stored as {other:?}", self.logical)),
        })
    }

    /// Numbers that fit an `i64`: shapes, axes, positions.
    pub fn indices(&self) -> Result<Vec<i64>, String> {
        let narrow = |v: i128| i64::try_from(v).map_err(|_| format!("`{}` holds {v}", self.key));
        self.integers()?.into_iter().map(narrow).collect()
    }

    fn each<T, const N: usize>(&self, convert: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (chunks, _) = self.bytes.as_chunks::<N>();
        chunks.iter().map(|c| convert(*c)).collect()
    }
}

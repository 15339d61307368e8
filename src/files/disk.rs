//! Models on a disk: headers are read into memory, and of tensors what is asked for.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::cursor::Stop;
use super::{Contents, TensorInfo, contents, shards, shown, wrong};
use crate::error::{Error, Result};

/// What is read at first; most headers of safetensors fit.
const FIRST: u64 = 64 << 10;

/// A model whose files are on a disk, and stay there.
#[derive(Debug)]
pub struct ModelFiles {
    contents: Contents,
    /// Each has one position, so that one caller at a time moves it and reads there.
    files: Vec<Mutex<File>>,
}

impl ModelFiles {
    /// Opens a GGUF or safetensors file; any file of a split GGUF model, by its name `*-00001-of-0000N.gguf`; or
    /// the index of a split safetensors model, `*.safetensors.index.json`. The files of a split model lie in one
    /// folder.
    ///
    /// # Errors
    /// [`Error::File`] with the file, and with the offset and field if it is not what it should be.
    pub fn open(path: &Path) -> Result<Self> {
        if path.to_string_lossy().ends_with(".index.json") {
            return Self::open_index(path);
        }
        let (one, file) = read_head(path)?;
        let n = shards::count(&one)?;
        if n == 1 {
            return Ok(Self { contents: shards::join(vec![one])?, files: vec![Mutex::new(file)] });
        }
        let at = one.place(shards::COUNT_KEY);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some((stem, _, told)) = shards::parse_name(&name) else {
            let what = format_args!("is {n}, but the file is not called `*-00001-of-{n:05}.gguf`");
            return Err(wrong(&path.display().to_string(), at, shards::COUNT_KEY, what));
        };
        if told != n {
            let what = format_args!("is {n}, but the file's name says {told}");
            return Err(wrong(&path.display().to_string(), at, shards::COUNT_KEY, what));
        }
        let paths: Vec<PathBuf> = (0..n).map(|i| path.with_file_name(shards::name(stem, i, n))).collect();
        Self::open_all(&paths)
    }

    fn open_all(paths: &[PathBuf]) -> Result<Self> {
        let mut parts = Vec::new();
        let mut files = Vec::new();
        for path in paths {
            let (part, file) = read_head(path)?;
            parts.push(part);
            files.push(Mutex::new(file));
        }
        Ok(Self { contents: shards::join(parts)?, files })
    }

    #[cfg(feature = "safetensors")]
    fn open_index(path: &Path) -> Result<Self> {
        use super::HEADER_MAX;
        let label = path.display().to_string();
        let mut file = File::open(path).map_err(|e| cannot(path, &e))?;
        let bytes = file.metadata().map_err(|e| cannot(path, &e))?.len();
        if bytes > HEADER_MAX {
            let what = format_args!("has {bytes} bytes, but at most {HEADER_MAX} are read");
            return Err(wrong(&label, 0, "index", what));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| cannot(path, &e))?;
        let shards::Index { names, tensors } = shards::index(&label, &text)?;
        let paths: Vec<PathBuf> = names.iter().map(|name| path.with_file_name(name)).collect();
        let model = Self::open_all(&paths)?;
        for (name, part) in tensors {
            if model.contents.tensor(&name).is_none_or(|t| t.part != part) {
                let field = format_args!("weight_map, `{}`", shown(&name));
                let at = shards::quoted(&text, &name);
                return Err(wrong(&label, at, field, format_args!("is not in {}", names[part])));
            }
        }
        Ok(model)
    }

    #[cfg(not(feature = "safetensors"))]
    fn open_index(path: &Path) -> Result<Self> {
        Err(wrong(&path.display().to_string(), 0, "index", "this build does not read safetensors"))
    }

    /// What the files hold.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Reads bytes of a tensor, from its byte `from` on, as many as `buffer` takes. Any threads may read at once;
    /// those that read one file take turns.
    ///
    /// # Errors
    /// [`Error::Argument`] if the tensor has no such bytes; [`Error::File`] if they cannot be read.
    pub fn read(&self, tensor: &TensorInfo, from: u64, buffer: &mut [u8]) -> Result<()> {
        let within = tensor.range.start.checked_add(from);
        let within = within
            .filter(|at| at.checked_add(buffer.len() as u64).is_some_and(|end| end <= tensor.range.end));
        let (Some(at), Some(file), Some(part)) =
            (within, self.files.get(tensor.part), self.contents.parts.get(tensor.part))
        else {
            return Err(Error::Argument(format!(
                "model: `{}` has {} bytes, of which {} from {from} are asked for",
                shown(&tensor.name),
                tensor.range.end - tensor.range.start,
                buffer.len()
            )));
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(buffer))
            .map_err(|e| wrong(&part.name, at, format_args!("data of `{}`", shown(&tensor.name)), e))
    }
}

fn cannot(path: &Path, e: &std::io::Error) -> Error {
    Error::File(format!("{}: {e}", path.display()))
}

/// The contents of one file, of which no more is read than its header takes, and at most as much again.
fn read_head(path: &Path) -> Result<(Contents, File)> {
    let label = path.display().to_string();
    let mut file = File::open(path).map_err(|e| cannot(path, &e))?;
    let about = file.metadata().map_err(|e| cannot(path, &e))?;
    if about.is_dir() {
        return Err(Error::File(format!("{label}: is a folder, not a model file")));
    }
    let total = about.len();
    let mut bytes = Vec::new();
    let mut wanted = FIRST;
    loop {
        let more = wanted.min(total) - bytes.len() as u64;
        let read = file.by_ref().take(more).read_to_end(&mut bytes).map_err(|e| cannot(path, &e))?;
        match contents(&label, &bytes, total) {
            Ok(contents) => return Ok((contents, file)),
            Err(Stop::Wrong(e)) => return Err(e),
            Err(Stop::Short(_)) if read == 0 => {
                return Err(wrong(&label, bytes.len() as u64, "header", "the file has become shorter"));
            }
            Err(Stop::Short(n)) => wanted = n.max(wanted.saturating_mul(2)),
        }
    }
}

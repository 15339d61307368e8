//! GGUF files, written front to back: the header first, then each tensor's bytes as they come.

use std::fmt::Arguments;

use super::gguf::{ALIGNMENT, ALIGNMENT_KEY, ALIGNMENT_MAX, AXES_MAX, MAGIC, twice};
use super::value::{Value, put_text};
use super::{Encoding, HEADER_MAX, NAME_MAX, shown};
use crate::error::{Error, Result};

/// Bytes of a tensor's name that ggml reads: one less than its `GGML_MAX_NAME`. Readers here take longer ones.
const TENSOR_NAME_MAX: usize = 63;

/// A tensor that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// Its name, 1 to 63 bytes: ggml refuses a whole file for one that is longer.
    pub name: String,
    /// How its elements lie.
    pub encoding: &'static Encoding,
    /// The size of each axis, outermost first; at most 4.
    pub shape: Vec<usize>,
}

fn refuse(what: Arguments<'_>) -> Error {
    Error::Argument(format!("gguf: {what}"))
}

impl TensorSpec {
    /// Its bytes, if GGUF can hold it.
    fn bytes(&self) -> Result<u64> {
        let Self { name, encoding, shape } = self;
        let label = shown(name);
        if name.is_empty() || name.len() > TENSOR_NAME_MAX {
            let n = name.len();
            return Err(refuse(format_args!(
                "the name of tensor `{label}` has {n} bytes, but ggml reads 1 to {TENSOR_NAME_MAX}"
            )));
        }
        if encoding.gguf.is_none() {
            return Err(refuse(format_args!("`{label}` is {encoding}, which GGUF has no type for")));
        }
        if shape.len() > AXES_MAX {
            let n = shape.len();
            return Err(refuse(format_args!("`{label}` has {n} axes, but at most {AXES_MAX} are allowed")));
        }
        let last = shape.last().map_or(1, |n| *n as u64);
        if !last.is_multiple_of(encoding.block) {
            let block = encoding.block;
            return Err(refuse(format_args!(
                "`{label}` has a last axis of {last}, but a block of {encoding} is {block} values"
            )));
        }
        encoding
            .byte_len(shape)
            .ok_or_else(|| refuse(format_args!("`{label}` takes more than 2^64 bytes: {encoding} {shape:?}")))
    }
}

/// A file up to where its tensors begin, padding included: version 3. Each tensor begins at the next multiple of
/// 32 bytes, or of `general.alignment`, counted from there, in the order given.
///
/// # Errors
/// [`Error::Argument`] with the key or tensor that GGUF cannot hold.
pub fn gguf_header(metadata: &[(String, Value)], tensors: &[TensorSpec]) -> Result<Vec<u8>> {
    let alignment = alignment(metadata)?;
    if let Some((i, _)) = twice(metadata.len(), |i| metadata[i].0.as_str()) {
        return Err(refuse(format_args!("the key `{}` is there twice", shown(&metadata[i].0))));
    }
    if let Some((i, _)) = twice(tensors.len(), |i| tensors[i].name.as_str()) {
        return Err(refuse(format_args!("the tensor `{}` is there twice", shown(&tensors[i].name))));
    }
    let mut out = MAGIC.to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        if key.is_empty() || key.len() > NAME_MAX {
            let (n, key) = (key.len(), shown(key));
            return Err(refuse(format_args!(
                "the key `{key}` has {n} bytes, but 1 to {NAME_MAX} are allowed"
            )));
        }
        put_text(key, &mut out);
        out.extend(value.gguf().to_le_bytes());
        value.put(&mut out);
    }
    let mut offset = 0u64;
    for t in tensors {
        let bytes = t.bytes()?;
        put_text(&t.name, &mut out);
        out.extend((t.shape.len() as u32).to_le_bytes());
        t.shape.iter().rev().for_each(|n| out.extend((*n as u64).to_le_bytes()));
        out.extend(t.encoding.gguf.unwrap_or_default().to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset = offset
            .checked_add(bytes)
            .and_then(|end| end.checked_next_multiple_of(alignment))
            .ok_or_else(|| refuse(format_args!("the tensors take more than 2^64 bytes")))?;
    }
    out.resize(out.len().next_multiple_of(alignment as usize), 0);
    if out.len() as u64 > HEADER_MAX {
        let n = out.len();
        return Err(refuse(format_args!("the header takes {n} bytes, but at most {HEADER_MAX} are read")));
    }
    Ok(out)
}

fn alignment(metadata: &[(String, Value)]) -> Result<u64> {
    match metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY).map(|(_, v)| v) {
        None => Ok(ALIGNMENT),
        Some(Value::U32(a)) if a.is_power_of_two() && u64::from(*a) <= ALIGNMENT_MAX => Ok(u64::from(*a)),
        Some(other) => Err(refuse(format_args!(
            "{ALIGNMENT_KEY} must be a u32, a power of two up to {ALIGNMENT_MAX}, but is {other:?}"
        ))),
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub use disk::GgufWriter;

#[cfg(not(target_arch = "wasm32"))]
mod disk {
    use std::ffi::OsStr;
    use std::fs::{self, File};
    use std::io::{self, BufWriter, ErrorKind, Write};
    use std::path::{Path, PathBuf};

    use super::super::{Value, shown};
    use super::{TensorSpec, alignment, gguf_header};
    use crate::error::{Error, Result};

    /// Writes a GGUF file under another name in the same folder, and gives it its own when it is whole and on the
    /// disk. Dropped before that, it leaves nothing; killed before that, it leaves the other name and no file.
    #[derive(Debug)]
    pub struct GgufWriter {
        path: PathBuf,
        partial: PathBuf,
        out: Option<BufWriter<File>>,
        /// Names and bytes of the tensors.
        tensors: Vec<(String, u64)>,
        alignment: u64,
        /// The tensor that is being written, and how much of it is.
        current: usize,
        written: u64,
    }

    impl GgufWriter {
        /// Begins `path` with this metadata and these tensors, whose bytes are to follow in this order.
        ///
        /// # Errors
        /// [`Error::File`] if there is such a file already, or none can be made; [`Error::Argument`] with the key
        /// or tensor that GGUF cannot hold.
        pub fn create(path: &Path, metadata: &[(String, Value)], tensors: &[TensorSpec]) -> Result<Self> {
            let header = gguf_header(metadata, tensors)?;
            let sizes =
                tensors.iter().map(|t| Ok((t.name.clone(), t.bytes()?))).collect::<Result<Vec<_>>>()?;
            let Some(name) = path.file_name() else {
                return Err(Error::File(format!("{}: is no name of a file", path.display())));
            };
            if fs::symlink_metadata(path).is_ok() {
                return Err(there_already(path));
            }
            let (partial, file) = create_partial(path, name)?;
            let out = Some(BufWriter::with_capacity(1 << 20, file));
            let mut writer = Self {
                path: path.to_owned(),
                partial,
                out,
                tensors: sizes,
                alignment: alignment(metadata)?,
                current: 0,
                written: 0,
            };
            writer.put(&header)?;
            writer.skip_empty();
            Ok(writer)
        }

        /// The name that the file has while it is written.
        pub fn partial(&self) -> &Path {
            &self.partial
        }

        /// Appends bytes of the tensor whose turn it is.
        ///
        /// # Errors
        /// [`Error::Argument`] if they are more than it has left; [`Error::File`] if they cannot be written.
        pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
            let Some((name, size)) = self.tensors.get(self.current) else {
                if bytes.is_empty() {
                    return Ok(());
                }
                let n = bytes.len();
                return Err(Error::Argument(format!("gguf: {n} bytes follow the last tensor")));
            };
            let (name, size, left) = (shown(name), *size, size - self.written);
            if bytes.len() as u64 > left {
                let n = bytes.len();
                return Err(Error::Argument(format!(
                    "gguf: `{name}` takes {size} bytes, of which {left} are left, but {n} are given"
                )));
            }
            self.put(bytes)?;
            self.written += bytes.len() as u64;
            if self.written == size {
                let padding = size.next_multiple_of(self.alignment) - size;
                self.put(&vec![0; padding as usize])?;
                self.current += 1;
                self.written = 0;
                self.skip_empty();
            }
            Ok(())
        }

        /// Ends the file and gives it its name; says how long it is.
        ///
        /// # Errors
        /// [`Error::Argument`] if a tensor lacks bytes; [`Error::File`] if it cannot be written, or another has
        /// taken its name meanwhile.
        pub fn finish(mut self) -> Result<u64> {
            if let Some((name, size)) = self.tensors.get(self.current) {
                return Err(Error::Argument(format!(
                    "gguf: `{}` takes {size} bytes, but {} were given",
                    shown(name),
                    self.written
                )));
            }
            let Some(out) = self.out.take() else { return Err(self.failed(&io::Error::other("is closed"))) };
            let file = out.into_inner().map_err(|e| self.failed(e.error()))?;
            file.sync_all().map_err(|e| self.failed(&e))?;
            let bytes = file.metadata().map_err(|e| self.failed(&e))?.len();
            self.rename()?;
            Ok(bytes)
        }

        /// A link fails where a rename would replace; file systems without links get the check and the rename.
        fn rename(&self) -> Result<()> {
            match fs::hard_link(&self.partial, &self.path) {
                Ok(()) => fs::remove_file(&self.partial).map_err(|e| self.failed(&e))?,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(there_already(&self.path)),
                Err(_) if fs::symlink_metadata(&self.path).is_ok() => return Err(there_already(&self.path)),
                Err(_) => fs::rename(&self.partial, &self.path).map_err(|e| self.failed(&e))?,
            }
            // The name is on the disk when its folder is; where folders cannot be opened, the system sees to it.
            let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if cfg!(unix) {
                File::open(folder).and_then(|f| f.sync_all()).map_err(|e| self.failed(&e))?;
            }
            Ok(())
        }

        fn skip_empty(&mut self) {
            while self.tensors.get(self.current).is_some_and(|(_, size)| *size == 0) {
                self.current += 1;
            }
        }

        fn put(&mut self, bytes: &[u8]) -> Result<()> {
            match self.out.as_mut().map(|out| out.write_all(bytes)) {
                Some(Ok(())) => Ok(()),
                Some(Err(e)) => Err(self.failed(&e)),
                None => Err(self.failed(&io::Error::other("is closed"))),
            }
        }

        fn failed(&self, e: &io::Error) -> Error {
            Error::File(format!("{}: {e}", self.path.display()))
        }
    }

    impl Drop for GgufWriter {
        fn drop(&mut self) {
            self.out = None;
            // Gone already if the file is whole.
            let _ = fs::remove_file(&self.partial);
        }
    }

    /// A new file beside `path`, `NAME.PID.partial`; numbers follow where an earlier process with our number has
    /// left one, since what another has written is not ours to replace.
    fn create_partial(path: &Path, name: &OsStr) -> Result<(PathBuf, File)> {
        let mut tried = 0;
        loop {
            let mut own = name.to_owned();
            own.push(match tried {
                0 => format!(".{}.partial", std::process::id()),
                n => format!(".{}.{n}.partial", std::process::id()),
            });
            let partial = path.with_file_name(own);
            match File::create_new(&partial) {
                Ok(file) => return Ok((partial, file)),
                Err(e) if e.kind() == ErrorKind::AlreadyExists && tried < 1000 => tried += 1,
                Err(e) => return Err(Error::File(format!("{}: {e}", partial.display()))),
            }
        }
    }

    fn there_already(path: &Path) -> Error {
        Error::File(format!("{} is there already", path.display()))
    }
}

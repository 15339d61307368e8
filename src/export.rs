//! Plans as files: a plan's JSON and, beside it, its weights as safetensors, so that a program which
//! knows nothing of this library can run it. `web/runner.js` is one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError};

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::plan::prepare::{Weights, prepare};

/// A plan's weights as a safetensors file: the bytes of each weight's buffer, prepared, as U8 tensors
/// `w0`, `w1` and so on, in the order of [`Plan::weights`].
///
/// # Errors
/// Those of [`prepare`].
pub fn weights(plan: &Plan, tensors: &Weights) -> Result<Vec<u8>> {
    let named = plan.weights.iter().enumerate();
    let prepared = named.map(|(i, spec)| Ok((format!("w{i}"), prepare(spec, tensors)?)));
    let prepared = prepared.collect::<Result<Vec<_>>>()?;
    let view = |(name, bytes)| -> Result<_, SafeTensorError> {
        Ok((name, TensorView::new(Dtype::U8, vec![<[u8]>::len(bytes)], bytes)?))
    };
    let views = prepared.iter().map(|(name, bytes)| (name, bytes.as_slice())).map(view);
    views
        .collect::<Result<Vec<_>, _>>()
        .and_then(|views| safetensors::serialize(views, None))
        .map_err(|e| Error::Argument(format!("export: the weights cannot be written: {e}")))
}

/// Writes `path`, which must end in `.json`, and with tensors also the weights beside it, in a file of
/// the same name that ends in `.safetensors`. Files that are there stay, unless `overwrite`; each file
/// appears whole or not at all. Gives what was written.
///
/// # Errors
/// [`Error::Argument`] with the file, and those of [`prepare`].
pub fn write(plan: &Plan, tensors: Option<&Weights>, path: &Path, overwrite: bool) -> Result<Vec<PathBuf>> {
    if path.extension().is_none_or(|e| e != "json") {
        return Err(Error::Argument(format!("export: {} must end in .json", path.display())));
    }
    let mut files = Vec::new();
    if let Some(tensors) = tensors {
        files.push((path.with_extension("safetensors"), weights(plan, tensors)?));
    }
    // Last, since whoever finds a plan looks for its weights.
    files.push((path.to_owned(), plan.to_json().into_bytes()));
    if let Some((there, _)) = files.iter().find(|(path, _)| !overwrite && path.exists()) {
        return Err(Error::Argument(format!("export: {} is there already", there.display())));
    }
    for (path, bytes) in &files {
        whole(path, bytes).map_err(|e| Error::Argument(format!("export: {}: {e}", path.display())))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Writes a file under another name and gives it its own when it is whole.
pub(crate) fn whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(name);
    let write = || {
        let mut file = fs::File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&partial)))
}

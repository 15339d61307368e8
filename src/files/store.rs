//! Model files as what weights are loaded from, a few rows at a time.

use std::borrow::Cow;
use std::ops::Range;

#[cfg(not(target_arch = "wasm32"))]
use super::ModelFiles;
use super::{Contents, Model, TensorInfo, shown, wrong};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats;
use crate::plan::prepare::Store;

/// The library's type for a tensor of a file.
pub(super) fn dtype(info: &TensorInfo) -> Result<DType> {
    info.encoding.dtype().ok_or_else(|| {
        let (name, encoding) = (shown(&info.name), info.encoding);
        Error::Argument(format!("model: `{name}` is {encoding}, which has no kernels"))
    })
}

/// What is wrong with a tensor of another model.
pub(super) fn past(info: &TensorInfo) -> Error {
    let name = shown(&info.name);
    Error::Argument(format!("model: `{name}` lies at {:?}, past the end of its file", info.range))
}

/// Fails if a block among the bytes of a tensor, which begin at its byte `from`, stands for values that are not
/// finite.
pub(super) fn check_finite(contents: &Contents, info: &TensorInfo, from: u64, bytes: &[u8]) -> Result<()> {
    let Some(block) = formats::first_not_finite(dtype(info)?, bytes) else { return Ok(()) };
    let block = from / info.encoding.block_bytes + block as u64;
    let at = info.range.start + block * info.encoding.block_bytes;
    let field = format_args!("block {block} of `{}`", shown(&info.name));
    let what = format_args!("stands for values that are no finite f32");
    Err(wrong(&contents.parts[info.part].name, at, field, what))
}

fn about(contents: &Contents, name: &str) -> Result<Option<(DType, Vec<usize>)>> {
    contents.tensor(name).map(|info| Ok((dtype(info)?, info.shape.clone()))).transpose()
}

/// The tensor of a name, if it has these bytes and they are whole blocks.
fn holds<'a>(contents: &'a Contents, name: &str, range: &Range<u64>) -> Result<&'a TensorInfo> {
    let info = contents.tensor(name).filter(|info| {
        let whole = |n: u64| n.is_multiple_of(info.encoding.block_bytes);
        let end = info.range.end - info.range.start;
        range.start <= range.end && range.end <= end && whole(range.start) && whole(range.end)
    });
    info.ok_or_else(|| {
        Error::Argument(format!("model: there is no tensor `{}` with the bytes {range:?}", shown(name)))
    })
}

impl Store for Model<'_> {
    fn about(&self, name: &str) -> Result<Option<(DType, Vec<usize>)>> {
        about(&self.contents, name)
    }

    fn bytes(&self, name: &str, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        let info = holds(&self.contents, name, &range)?;
        let all = self.bytes(info).ok_or_else(|| past(info))?;
        let bytes = &all[range.start as usize..range.end as usize];
        check_finite(&self.contents, info, range.start, bytes)?;
        Ok(bytes.into())
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Store for ModelFiles {
    fn about(&self, name: &str) -> Result<Option<(DType, Vec<usize>)>> {
        about(self.contents(), name)
    }

    fn bytes(&self, name: &str, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        let info = holds(self.contents(), name, &range)?;
        let length = usize::try_from(range.end - range.start).map_err(|_| past(info))?;
        let mut bytes = vec![0; length];
        self.read(info, range.start, &mut bytes)?;
        check_finite(self.contents(), info, range.start, &bytes)?;
        Ok(bytes.into())
    }
}

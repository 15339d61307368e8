//! Reading a header piece by piece: every piece is asked for by name, and compared with the bytes that are there
//! before anything is made of it.

use std::fmt::Arguments;

use super::{HEADER_MAX, NAME_MAX, wrong};
use crate::error::Error;

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The file is not what it should be.
    Wrong(Error),
    /// The file is longer than what was given of it, and at least so many bytes are needed.
    Short(u64),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Wrong(e)
    }
}

/// A place in the first bytes of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub file: &'a str,
    /// The file's first bytes, or all of them.
    bytes: &'a [u8],
    /// How long the file is.
    pub total: u64,
    pub at: u64,
}

impl<'a> Cursor<'a> {
    pub fn new(file: &'a str, bytes: &'a [u8], total: u64) -> Self {
        Self { file, bytes, total: total.max(bytes.len() as u64), at: 0 }
    }

    pub fn wrong(&self, at: u64, field: Arguments<'_>, what: Arguments<'_>) -> Stop {
        Stop::Wrong(wrong(self.file, at, field, what))
    }

    /// Bytes that a header may still take.
    fn left(&self) -> u64 {
        self.total.min(HEADER_MAX).saturating_sub(self.at)
    }

    pub fn take(&mut self, n: u64, field: Arguments<'_>) -> Result<&'a [u8], Stop> {
        if n > self.left() {
            let end = self.total;
            return Err(if end > HEADER_MAX {
                self.wrong(self.at, field, format_args!("the header is longer than {HEADER_MAX} bytes"))
            } else {
                self.wrong(self.at, field, format_args!("takes {n} bytes, but the file ends at {end}"))
            });
        }
        let end = self.at + n;
        let found = usize::try_from(self.at).ok().zip(usize::try_from(end).ok());
        let found = found.and_then(|(from, to)| self.bytes.get(from..to));
        let found = found.ok_or(Stop::Short(end))?;
        self.at = end;
        Ok(found)
    }

    fn array<const N: usize>(&mut self, field: Arguments<'_>) -> Result<[u8; N], Stop> {
        let bytes = self.take(N as u64, field)?;
        Ok(bytes.first_chunk().copied().unwrap_or([0; N]))
    }

    pub fn u32(&mut self, field: Arguments<'_>) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub fn u64(&mut self, field: Arguments<'_>) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// How many things of at least `least` bytes each follow: no more than there is room for.
    pub fn count(&mut self, least: u64, field: Arguments<'_>) -> Result<usize, Stop> {
        let at = self.at;
        let n = self.u64(field)?;
        let left = self.left();
        match usize::try_from(n) {
            Ok(count) if n.checked_mul(least).is_some_and(|bytes| bytes <= left) => Ok(count),
            _ => Err(self.wrong(
                at,
                field,
                format_args!("is {n}, each of at least {least} bytes, but {left} bytes follow"),
            )),
        }
    }

    /// Text with its length before it.
    pub fn text(&mut self, field: Arguments<'_>) -> Result<&'a str, Stop> {
        let at = self.at;
        let n = self.u64(field)?;
        let left = self.left();
        if n > left {
            return Err(self.wrong(at, field, format_args!("has {n} bytes, but {left} bytes follow")));
        }
        let at = self.at;
        let bytes = self.take(n, field)?;
        std::str::from_utf8(bytes).map_err(|e| {
            let at = at + e.valid_up_to() as u64;
            self.wrong(at, field, format_args!("is not UTF-8"))
        })
    }

    /// A name or key: text that is neither empty nor endless.
    pub fn name(&mut self, field: Arguments<'_>) -> Result<&'a str, Stop> {
        let at = self.at;
        let text = self.text(field)?;
        if text.is_empty() || text.len() > NAME_MAX {
            let n = text.len();
            return Err(self.wrong(
                at,
                field,
                format_args!("has {n} bytes, but must have from 1 to {NAME_MAX}"),
            ));
        }
        Ok(text)
    }
}

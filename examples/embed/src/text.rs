//! Lines of text from bytes: only the line's end is taken off, never other white space.

use crate::{Error, Result};

/// The lines of a text. `\n` or `\r\n` ends a line; the last line may go without.
///
/// # Errors
/// If a line is not UTF-8, with its number.
pub fn lines(bytes: &[u8]) -> Result<Vec<&str>> {
    let line = |(i, line): (usize, _)| {
        std::str::from_utf8(without_end(line)).map_err(|e| {
            Error::new(format!("line {} is not UTF-8: its byte {} is not text", i + 1, e.valid_up_to() + 1))
        })
    };
    bytes.split_inclusive(|b| *b == b'\n').enumerate().map(line).collect()
}

fn without_end(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_ends_are_taken_off() {
        assert_eq!(lines(b"a \n\n\tb\r\n\r\nc\r").unwrap(), ["a ", "", "\tb", "", "c\r"]);
        assert_eq!(lines(b"\n").unwrap(), [""]);
        assert!(lines(b"").unwrap().is_empty());
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named() {
        let e = lines(b"good\nba\xffd\n").unwrap_err();
        assert_eq!(e.to_string(), "line 2 is not UTF-8: its byte 3 is not text");
    }
}

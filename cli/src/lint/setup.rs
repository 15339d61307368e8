//! What a shader does not say: NAME.lint.toml, and flags.

use std::collections::BTreeMap;

use serde::Deserialize;
use tachylite::virtual_gpu::lint::{BufferSetup, Fill};
use toml::Value;

/// What was said, in a file or in flags.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub entry: Option<String>,
    pub dispatch: Option<[u32; 3]>,
    pub buffers: BTreeMap<String, BufferSetup>,
    pub overrides: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    entry: Option<String>,
    dispatch: Option<[u32; 3]>,
    #[serde(default)]
    buffers: BTreeMap<String, Buffer>,
    #[serde(default)]
    overrides: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Buffer {
    len: Option<u64>,
    fill: Option<Value>,
}

/// A file's text. Errors begin with line and column, or with the field.
pub(super) fn read(text: &str) -> Result<Said, String> {
    let file: File = toml::from_str(text).map_err(|e| {
        let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{line}:{column}: {}", e.message().replace('\n', " "))
    })?;
    let mut said = Said { entry: file.entry, dispatch: file.dispatch, ..Said::default() };
    for (name, buffer) in file.buffers {
        let fill = buffer.fill.map(|value| fill(&value)).transpose();
        let fill = fill.map_err(|e| format!(" buffers.{name}.fill: {e}"))?;
        said.buffers.insert(name, BufferSetup { len: buffer.len, fill });
    }
    for (name, value) in file.overrides {
        let number = number(&value).ok_or_else(|| format!(" overrides.{name}: {value} is no number"))?;
        said.overrides.insert(name, number);
    }
    Ok(said)
}

/// `X`, `X,Y` or `X,Y,Z`.
pub(super) fn dispatch(text: &str) -> Result<[u32; 3], String> {
    let wrong = || format!("--dispatch {text}: one to three numbers of workgroups, as 4,1,1, are expected");
    let mut counts = [1; 3];
    let parts: Vec<_> = text.split(',').collect();
    if parts.len() > 3 {
        return Err(wrong());
    }
    for (count, part) in counts.iter_mut().zip(parts) {
        *count = part.trim().parse().map_err(|_| wrong())?;
    }
    Ok(counts)
}

impl Said {
    /// `VAR=len:N,fill:F`, either part of which may be left out.
    pub fn buffer(&mut self, text: &str) -> Result<(), String> {
        let wrong = |what: String| format!("--buffer {text}: {what}");
        let Some((name, rest)) = text.split_once('=') else {
            return Err(wrong("VAR=len:N,fill:F is expected".into()));
        };
        let buffer = self.buffers.entry(name.trim().to_owned()).or_default();
        for part in parts(rest) {
            match part.split_once(':').map(|(key, value)| (key.trim(), value.trim())) {
                Some(("len", value)) => {
                    let len = value.parse().map_err(|_| wrong(format!("len is no whole number: {value}")))?;
                    buffer.len = Some(len);
                }
                Some(("fill", value)) => {
                    let quoted = if value.starts_with('[') { value.to_owned() } else { format!("{value:?}") };
                    let parsed: Result<toml::Table, _> = toml::from_str(&format!("fill = {quoted}"));
                    let value = parsed.ok().and_then(|t| t.get("fill").cloned());
                    let value = value.ok_or_else(|| wrong("fill is no list of numbers".into()))?;
                    buffer.fill = Some(fill(&value).map_err(|e| wrong(format!("fill: {e}")))?);
                }
                _ => return Err(wrong(format!("`{part}` is neither len:N nor fill:F"))),
            }
        }
        Ok(())
    }

    /// `NAME=VALUE`.
    pub fn override_value(&mut self, text: &str) -> Result<(), String> {
        let parsed = text.split_once('=').and_then(|(name, value)| {
            let value = match value.trim() {
                "true" => 1.0,
                "false" => 0.0,
                number => number.parse().ok()?,
            };
            Some((name.trim().to_owned(), value))
        });
        let (name, value) = parsed.ok_or_else(|| {
            format!("--override {text}: NAME=VALUE is expected, with a number or a truth value")
        })?;
        self.overrides.insert(name, value);
        Ok(())
    }
}

/// The parts between commas that are in no list.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn fill(value: &Value) -> Result<Fill, String> {
    match value {
        Value::String(name) => match name.as_str() {
            "random" => Ok(Fill::Random),
            "zero" => Ok(Fill::Zero),
            "unwritten" => Ok(Fill::Unwritten),
            name => {
                Err(format!("there is no `{name}`; there are random, zero, unwritten and lists of numbers"))
            }
        },
        Value::Array(values) => {
            let numbers = values.iter().map(|v| number(v).ok_or_else(|| format!("{v} is no number")));
            Ok(Fill::Values(numbers.collect::<Result<_, _>>()?))
        }
        other => Err(format!("{other} is neither random, zero, unwritten nor a list of numbers")),
    }
}

/// A number; a truth value is 1 or 0.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(i) => Some(*i as f64),
        Value::Float(f) => Some(*f),
        Value::Boolean(b) => Some(f64::from(u8::from(*b))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_flags_say_the_same() {
        let file = "dispatch = [2, 1, 1]\n[buffers.x]\nlen = 64\nfill = [1, -0.5, 0x10]\n\
                    [buffers.y]\nfill = \"zero\"\n[overrides]\nN = 3\nFAST = true\n";
        let mut flags = Said { dispatch: Some(dispatch("2").unwrap()), ..Said::default() };
        flags.buffer("x=len:64,fill:[1,-0.5,0x10]").unwrap();
        flags.buffer("y=fill:zero").unwrap();
        flags.override_value("N=3").unwrap();
        flags.override_value("FAST=true").unwrap();
        assert_eq!(read(file).unwrap(), flags);
        assert_eq!(flags.buffers["x"].fill, Some(Fill::Values(vec![1.0, -0.5, 16.0])));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("dispatch = [1, 1, 1]\ndispatsh = 3", "2:1: unknown field `dispatsh`"),
            ("dispatch = [1, 1]", "1:12: "),
            ("[buffers.x]\nlen = -1", "2:7: "),
            ("[buffers.x]\nsize = 4", "2:1: unknown field `size`"),
            ("[buffers.x]\nfill = \"ones\"", " buffers.x.fill: there is no `ones`"),
            ("[buffers.x]\nfill = [1, \"a\"]", " buffers.x.fill: \"a\" is no number"),
            ("[overrides]\nN = \"three\"", " overrides.N: \"three\" is no number"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(says), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let mut said = Said::default();
        for text in ["x", "x=len:a", "x=fill:ones", "x=fill:[1,", "x=size:4"] {
            assert!(said.buffer(text).unwrap_err().starts_with("--buffer x"), "{text}");
        }
        assert!(dispatch("1,2,3,4").is_err() && dispatch("a").is_err());
        assert!(said.override_value("N").is_err() && said.override_value("N=x").is_err());
    }
}

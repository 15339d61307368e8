//! `tachylite inspect`: what a model file holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value as Json, json};
use tachylite::files::{Array, Contents, Format, ModelFiles, Value};

use crate::{cannot_run, say};

/// Values of an array that are printed.
const SHOWN: usize = 8;
/// Characters of a text that are printed.
const CHARACTERS: usize = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A GGUF or safetensors file; of a split model any of its GGUF files, or its *.safetensors.index.json
    file: PathBuf,
    /// Print JSON, with every value of every array
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match ModelFiles::open(&arguments.file) {
        Ok(model) if arguments.json => {
            say(&format!("{:#}\n", to_json(model.contents())));
            ExitCode::SUCCESS
        }
        Ok(model) => {
            say(&to_text(model.contents()));
            ExitCode::SUCCESS
        }
        Err(why) => cannot_run(&why.to_string()),
    }
}

fn to_text(contents: &Contents) -> String {
    let mut out = String::new();
    for part in contents.parts() {
        out += &format!("{}: {}\n", part.name, size(part.bytes));
    }
    let (tensors, metadata) = (contents.tensors(), contents.metadata());
    let format = contents.format();
    out += &format!("{format}, {} tensors, {} metadata entries\n", tensors.len(), metadata.len());
    if !metadata.is_empty() {
        let rows = metadata.iter().map(|(key, value)| [plain(key), type_name(value), value_text(value)]);
        out += &format!("\nmetadata\n{}", table(rows.collect(), [false; 3]));
    }
    if !tensors.is_empty() {
        let mut types: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        let rows = tensors.iter().map(|t| {
            let bytes = t.range.end - t.range.start;
            let of_type = types.entry(t.encoding.name).or_default();
            *of_type = (of_type.0 + 1, of_type.1 + bytes);
            [plain(&t.name), t.encoding.name.to_owned(), shape(&t.shape), size(bytes)]
        });
        out += &format!("\ntensors\n{}", table(rows.collect(), [false, false, false, true]));
        let rows = types.iter().map(|(name, (n, bytes))| [(*name).to_owned(), n.to_string(), size(*bytes)]);
        out += &format!("\ntypes, tensors, bytes\n{}", table(rows.collect(), [false, true, true]));
    }
    out
}

/// Rows in columns, some of which end flush.
pub(crate) fn table<const N: usize>(rows: Vec<[String; N]>, right: [bool; N]) -> String {
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for ((cell, width), right) in row.iter().zip(widths).zip(right) {
            line += &if right { format!("  {cell:>width$}") } else { format!("  {cell:<width$}") };
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// Bytes, to a human.
pub(crate) fn size(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", n as f64 / 1_073_741_824.0),
    }
}

pub(crate) fn shape(shape: &[usize]) -> String {
    let sizes: Vec<_> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

/// Text of a file, harmless to a terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut out: String = text.chars().take(CHARACTERS).flat_map(char::escape_debug).collect();
    let more = text.chars().count().saturating_sub(CHARACTERS);
    if more > 0 {
        out += &format!("… {more} more");
    }
    out
}

fn type_name(value: &Value) -> String {
    match value {
        Value::Array(a) => format!("{}[{}]", a.element_name(), a.len()),
        other => other.type_name().to_owned(),
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::U8(v) => v.to_string(),
        Value::I8(v) => v.to_string(),
        Value::U16(v) => v.to_string(),
        Value::I16(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::I32(v) => v.to_string(),
        Value::F32(v) => format!("{v:?}"),
        Value::Bool(v) => v.to_string(),
        Value::String(v) => format!("\"{}\"", plain(v)),
        Value::Array(v) => array_text(v),
        Value::U64(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::F64(v) => format!("{v:?}"),
    }
}

fn array_text(array: &Array) -> String {
    let mut shown: Vec<_> = (0..SHOWN).filter_map(|i| array.get(i)).map(|v| value_text(&v)).collect();
    let more = array.len() - shown.len();
    if more > 0 {
        shown.push(format!("… {more} more"));
    }
    format!("[{}]", shown.join(", "))
}

fn to_json(contents: &Contents) -> Json {
    let metadata = contents.metadata().iter();
    let metadata: serde_json::Map<_, _> =
        metadata.map(|(k, v)| (k.clone(), json!({"type": type_name(v), "value": value_json(v)}))).collect();
    let tensor = |t: &tachylite::files::TensorInfo| {
        json!({
            "name": t.name,
            "type": t.encoding.name,
            "shape": t.shape,
            "bytes": t.range.end - t.range.start,
            "file": t.part,
            "offset": t.range.start,
        })
    };
    let (format, version) = match contents.format() {
        Format::Gguf { version } => ("gguf", Some(version)),
        Format::Safetensors => ("safetensors", None),
    };
    json!({
        "files": contents.parts().iter().map(|p| json!({"name": p.name, "bytes": p.bytes})).collect::<Vec<_>>(),
        "format": format,
        "version": version,
        "metadata": metadata,
        "tensors": contents.tensors().iter().map(tensor).collect::<Vec<_>>(),
    })
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::F32(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::String(v) => json!(v),
        Value::Array(v) => (0..v.len()).filter_map(|i| v.get(i)).map(|v| value_json(&v)).collect(),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F64(v) => json!(v),
    }
}

//! `tachylite inspect`: what a model file holds.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value as Json, json};
use tachylite::files::{Array, Contents, Format, ModelFiles, TensorInfo, Value};

use crate::{cannot_run, said, say};

/// Values of an array that are printed.
const SHOWN: usize = 8;
/// Characters of a text that are printed, as they are escaped.
const CHARACTERS: usize = 100;
/// A column gets no wider for cells that are: one long name is not paid for by every row.
const COLUMN: usize = 64;

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
            let mut out = BufWriter::new(std::io::stdout().lock());
            said(to_text(model.contents(), &mut out).and_then(|()| out.flush()));
            ExitCode::SUCCESS
        }
        Err(why) => cannot_run(&why.to_string()),
    }
}

fn to_text(contents: &Contents, out: &mut impl Write) -> std::io::Result<()> {
    for part in contents.parts() {
        writeln!(out, "{}: {}", part.name, size(part.bytes))?;
    }
    let (tensors, metadata) = (contents.tensors(), contents.metadata());
    let format = contents.format();
    writeln!(out, "{format}, {} tensors, {} metadata entries", tensors.len(), metadata.len())?;
    if !metadata.is_empty() {
        writeln!(out, "\nmetadata")?;
        let rows = metadata.iter().map(|(key, value)| [plain(key), type_name(value), value_text(value)]);
        table(rows, [false; 3], out)?;
    }
    if !tensors.is_empty() {
        let bytes = |t: &TensorInfo| t.range.end - t.range.start;
        let mut types: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for t in tensors {
            let of_type = types.entry(t.encoding.name).or_default();
            *of_type = (of_type.0 + 1, of_type.1 + bytes(t));
        }
        writeln!(out, "\ntensors")?;
        let rows = tensors
            .iter()
            .map(|t| [plain(&t.name), t.encoding.name.to_owned(), shape(&t.shape), size(bytes(t))]);
        table(rows, [false, false, false, true], out)?;
        writeln!(out, "\ntypes, tensors, bytes")?;
        let rows = types.iter().map(|(name, (n, bytes))| [(*name).to_owned(), n.to_string(), size(*bytes)]);
        table(rows, [false, true, true], out)?;
    }
    Ok(())
}

/// Rows in columns, some of which end flush; they are made twice, so that none is kept.
pub(crate) fn table<const N: usize>(
    rows: impl Iterator<Item = [String; N]> + Clone,
    right: [bool; N],
    out: &mut impl Write,
) -> std::io::Result<()> {
    let mut widths = [0; N];
    for row in rows.clone() {
        for (width, cell) in widths.iter_mut().zip(&row) {
            *width = cell.chars().count().min(COLUMN).max(*width);
        }
    }
    for row in rows {
        let mut line = String::new();
        for ((cell, width), right) in row.iter().zip(widths).zip(right) {
            line += &if right { format!("  {cell:>width$}") } else { format!("  {cell:<width$}") };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
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
    let (mut out, mut width) = (String::new(), 0);
    for (i, c) in text.chars().enumerate() {
        let escaped = c.escape_debug();
        width += escaped.len();
        if width > CHARACTERS {
            return out + &format!("… {} more", text.chars().count() - i);
        }
        out.extend(escaped);
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
    let tensor = |t: &TensorInfo| {
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

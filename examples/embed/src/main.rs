//! `embed`: lines of text on standard input; their embeddings, or the nearest to a query, out.

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use embed::{Encoder, Error, Model, Options, Result, WeightType, measure, search, text};

/// Encodes the lines on standard input with all-MiniLM-L6-v2.
///
/// Without --json or --query a summary is printed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The folder with model.safetensors and tokenizer.json
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// `gpu` for the best adapter, `cpu` for the reference kernels, or an adapter by name
    #[arg(long, value_name = "gpu|cpu|NAME", default_value = "gpu")]
    device: String,
    /// How the weights are stored on the device
    #[arg(long, value_enum, default_value_t)]
    weights: WeightType,
    /// A line's bits do not depend on the lines that share its batch
    #[arg(long)]
    batch_invariant: bool,
    /// Print [{"text", "embedding"}], one entry per line
    #[arg(long, conflicts_with_all = ["query", "measure"])]
    json: bool,
    /// Print the nearest lines to this text, with their scores
    #[arg(long, value_name = "TEXT", conflicts_with = "measure")]
    query: Option<String>,
    /// How many lines --query prints
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    /// Write the encoder for up to 8 lines of 256 tokens as files that any WebGPU can run: OUT.json and,
    /// beside it, OUT.safetensors; reads no input
    #[arg(long, value_name = "OUT.json", conflicts_with_all = ["json", "query", "measure"])]
    export: Option<PathBuf>,
    /// Print what recording a dispatch costs and what fusion gains; reads no input
    #[arg(long, conflicts_with = "batch_invariant")]
    measure: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "embed: {e}"); // nobody is left to tell if this fails
            ExitCode::from(1)
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let model = Model::open(&arguments.model)?;
    let options = Options {
        device: arguments.device.clone(),
        weights: arguments.weights,
        batch_invariant: arguments.batch_invariant,
        ..Options::default()
    };
    if arguments.measure {
        return print(&measure::report(&model, &arguments.device, arguments.weights)?);
    }
    if let Some(path) = &arguments.export {
        let files = embed::encoder::export(&model, &options, path)?;
        return print(&files.iter().map(|f| format!("{}\n", f.display())).collect::<String>());
    }
    let mut encoder = Encoder::new(model, &options)?;
    let mut input = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut input);
    read.map_err(|e| Error::new(format!("standard input cannot be read: {e}")))?;
    let lines = text::lines(&input)?;

    let begun = Instant::now();
    let rows = encoder.encode(&lines, progress(lines.len()))?;
    if arguments.json {
        print(&json(&lines, &rows)?)
    } else if let Some(query) = &arguments.query {
        let query = &encoder.encode(&[query], |_| {})?[0];
        print(&ranking(query, &lines, &rows, arguments.top))
    } else {
        let seconds = begun.elapsed().as_secs_f64();
        print(&summary(&encoder, arguments, rows.len(), seconds))
    }
}

/// Says on the terminal how far a long input has come.
fn progress(total: usize) -> impl FnMut(usize) {
    let shown = std::io::stderr().is_terminal();
    move |done| {
        if shown && total > 64 {
            let end = if done == total { "\r\x1b[K" } else { "" };
            let _ = write!(std::io::stderr(), "\r{done} of {total} lines{end}");
        }
    }
}

fn json(lines: &[&str], rows: &[Vec<f32>]) -> Result<String> {
    let entry = |(text, row): (&&str, &Vec<f32>)| {
        let text = serde_json::to_string(text)?;
        Ok(format!("{{\"text\": {text}, \"embedding\": {}}}", serde_json::to_string(row)?))
    };
    let entries = lines.iter().zip(rows).map(entry).collect::<serde_json::Result<Vec<_>>>();
    let entries = entries.map_err(|e| Error::new(format!("json: {e}")))?;
    Ok(format!("[{}]\n", entries.join(",\n ")))
}

fn ranking(query: &[f32], lines: &[&str], rows: &[Vec<f32>], top: usize) -> String {
    let hits = search::nearest(query, rows, top);
    hits.iter()
        .map(|hit| format!("{:7.4}  line {}: {}\n", hit.score, hit.line + 1, lines[hit.line]))
        .collect()
}

fn summary(encoder: &Encoder, arguments: &Arguments, lines: usize, seconds: f64) -> String {
    let noun = if lines == 1 { "line" } else { "lines" };
    format!(
        "{lines} {noun} in {seconds:.2} s, {} weights, on {}\n\
         --json prints their embeddings, --query TEXT the nearest of them\n",
        arguments.weights.name(),
        encoder.device()
    )
}

/// Prints; a reader that has gone away has read enough.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::new(format!("standard output: {e}"))),
        _ => Ok(()),
    }
}

//! `embed`: lines of text on standard input; their embeddings, or the nearest to a query, out.

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use embed::compare::{self, Comparison};
use embed::startup::{self, CacheFile, Timeline};
use embed::{Encoder, Error, Model, Options, Result, WeightType, measure, search, text, weights};
use tachylite::{DType, Gpu};

/// Encodes the lines on standard input with all-MiniLM-L6-v2.
///
/// Without --json or --query a summary is printed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The folder with tokenizer.json and model.safetensors or model.gguf; or such a file of weights in it
    #[arg(long, value_name = "PATH")]
    model: PathBuf,
    /// `gpu` for the best adapter, `cpu` for the reference kernels, or an adapter by name
    #[arg(long, value_name = "gpu|cpu|NAME", default_value = "gpu")]
    device: String,
    /// How the matrices are stored on the device: f32 f16 bf16 int8 q8_0 q4_0 q4_k ...; as the file has them
    /// if it is not said
    #[arg(long, value_name = "TYPE", value_parser = weights::parse)]
    weights: Option<DType>,
    /// The same of the tables of words and positions; if it is not said f32 beside f32, bf16 beside bf16, else f16
    #[arg(long, value_name = "TYPE", value_parser = weights::parse)]
    tables: Option<DType>,
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
    /// Make the matrices for what they are multiplied with (GPTQ), which the device finds out first: nearer
    /// results from the same types
    #[arg(long, conflicts_with_all = ["export", "measure", "compare"])]
    feedback: bool,
    /// Compare types of weights, all or a list with commas: bytes, cosine to f32 and speed; on the lines of
    /// standard input, if any, else on sentences of its own. With --json as JSON
    #[arg(long, value_name = "TYPES", num_args = 0..=1, default_missing_value = "all",
        conflicts_with_all = ["weights", "query", "measure", "export", "batch_invariant"])]
    compare: Option<String>,
    /// How often --compare times each type
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Keep what the driver compiles in this file, for the next run on this device
    #[arg(long, value_name = "FILE", conflicts_with = "measure")]
    cache: Option<PathBuf>,
    /// Say on standard error what happened when, up to the first embedding
    #[arg(long, conflicts_with = "measure")]
    timings: bool,
}

fn main() -> ExitCode {
    let times = Timeline::begin();
    match run(&Arguments::parse(), &times) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(&format!("embed: {e}\n"));
            ExitCode::from(1)
        }
    }
}

fn run(arguments: &Arguments, times: &Timeline) -> Result<()> {
    let options = Options {
        device: arguments.device.clone(),
        weights: WeightType { matrices: arguments.weights, tables: arguments.tables },
        feedback: arguments.feedback,
        batch_invariant: arguments.batch_invariant,
        ..Options::default()
    };
    if let Some(list) = &arguments.compare {
        return compared(arguments, &options, list);
    }
    if arguments.measure {
        let model = Model::open(&arguments.model)?;
        return print(&measure::report(&model, &arguments.device, options.weights)?);
    }
    if let Some(path) = &arguments.export {
        let files = embed::encoder::export(&Model::open(&arguments.model)?, &options, path)?;
        return print(&files.iter().map(|f| format!("{}\n", f.display())).collect::<String>());
    }
    let cache = arguments.cache.as_deref().map(CacheFile::new);
    let mut encoder = startup::open(&arguments.model, &options, cache.as_ref(), times)?;
    let input = input()?;
    let lines = text::lines(&input)?;

    let begun = Instant::now();
    let rows = encoder.encode(&lines, progress(lines.len(), times))?;
    if let (Some(file), Some(gpu)) = (cache, encoder.gpu())
        && let Err(e) = times.time("save the pipeline cache", || file.save(gpu))
    {
        say(&format!("embed: {e}\n"));
    }
    if arguments.timings {
        say(&timings(&encoder, times));
    }
    if arguments.json {
        print(&json(&lines, &rows)?)
    } else if let Some(query) = &arguments.query {
        let query = &encoder.encode(&[query], |_| {})?[0];
        print(&ranking(query, &lines, &rows, arguments.top))
    } else {
        let seconds = begun.elapsed().as_secs_f64();
        print(&summary(&encoder, &options, rows.len(), seconds))
    }
}

/// All of standard input.
fn input() -> Result<Vec<u8>> {
    let mut input = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut input);
    read.map_err(|e| Error::new(format!("standard input cannot be read: {e}")))?;
    Ok(input)
}

/// Compares types of weights on the lines of standard input, unless that is a terminal or empty.
fn compared(arguments: &Arguments, options: &Options, list: &str) -> Result<()> {
    let what = Comparison { types: compare::parse(list)?, rounds: arguments.rounds as usize };
    if options.device == "cpu" {
        return Err(Error::new("`cpu` has no speed to compare: it evaluates the graph in f64"));
    }
    let input = if std::io::stdin().is_terminal() { Vec::new() } else { input()? };
    let mut sentences = text::lines(&input)?;
    if sentences.is_empty() {
        sentences = compare::SENTENCES.to_vec();
    }
    let model = Model::open(&arguments.model)?;
    let gpu = Gpu::open_blocking(&options.device)?;
    let shown = std::io::stderr().is_terminal();
    let mut tell = |at: &str| {
        if shown {
            say(&format!("\r\x1b[K{at}"));
        }
    };
    let rows = compare::compare(&gpu, &model, options, &what, &sentences, &mut tell)?;
    tell("");
    let report = if arguments.json { compare::json } else { compare::table };
    print(&report(&gpu, &rows, sentences.len(), what.rounds))
}

/// Says on the terminal how far a long input has come, and remembers when the first batch was done.
fn progress(total: usize, times: &Timeline) -> impl FnMut(usize) {
    let shown = std::io::stderr().is_terminal();
    let mut begun = Some(Instant::now());
    move |done| {
        if let Some(begun) = begun.take() {
            times.since(begun, "plan, load, and encode the first batch");
        }
        if shown && total > 64 {
            let end = if done == total { "\r\x1b[K" } else { "" };
            say(&format!("\r{done} of {total} lines{end}"));
        }
    }
}

/// Where start-up went.
fn timings(encoder: &Encoder, times: &Timeline) -> String {
    let mut text = times.report();
    if let Some(opened) = encoder.gpu().map(Gpu::timings) {
        text += &startup::open_report(opened);
    }
    for (planning, load) in encoder.loads() {
        text += &startup::load_report(planning, load);
    }
    text
}

/// Says something on standard error; nobody is left to tell if this fails.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
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

fn summary(encoder: &Encoder, options: &Options, lines: usize, seconds: f64) -> String {
    let noun = if lines == 1 { "line" } else { "lines" };
    format!(
        "{lines} {noun} in {seconds:.2} s, matrices {}, on {}\n\
         --json prints their embeddings, --query TEXT the nearest of them\n",
        weights::census(&encoder.model().file_types(options.weights)),
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

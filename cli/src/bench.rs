//! `tachylite bench`: how fast a device is, and how fast every kernel is as a fraction of that.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;
use tachylite::Gpu;
use tachylite::bench::{Entry, Outcome, Report, Row, Selection, compare, text};
use tachylite::gpu::{Bench, BenchOptions, Cold, Effort};

use crate::{cannot_run, count, device, note, put, say, will_write, write};

mod model;
mod peak;
mod versus;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The adapter; `gpu` is the best there is
    #[arg(long, value_name = "ADAPTER", default_value = "gpu")]
    adapter: String,
    /// Only how fast the device is: its probes
    #[arg(long, conflicts_with_all = ["op", "kernel", "group", "trusted", "warm", "csv", "compare"])]
    peak: bool,
    /// The short list: fewer shapes, of each the kernel that a plan would take, measured for less long
    #[arg(long)]
    quick: bool,
    /// Only this op; may be repeated
    #[arg(long, value_name = "OP")]
    op: Vec<String>,
    /// Only this kernel; may be repeated
    #[arg(long, value_name = "KERNEL")]
    kernel: Vec<String>,
    /// Only shapes of this model or kind, a heading of the table as `Qwen3-0.6B`; may be repeated
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Only warm: the same buffers again and again
    #[arg(long)]
    warm: bool,
    /// Each kernel also without checks of bounds and loops, beside the checked one
    #[arg(long)]
    trusted: bool,
    /// A whole model instead, with random weights: llama-3.2-1b, qwen3-0.6b, rwkv7-0.4b, ...; reads a prompt of
    /// 512 tokens and generates 128
    #[arg(long, value_name = "NAME",
        conflicts_with_all = ["peak", "op", "kernel", "group", "trusted", "warm", "csv", "compare"])]
    model: Option<String>,
    /// The type of the model's matrices
    #[arg(long = "type", value_name = "TYPE", requires = "model", default_value = "q8_0")]
    dtype: String,
    /// So many of the model's layers only
    #[arg(long, value_name = "N", requires = "model")]
    layers: Option<usize>,
    /// Generate so many tokens only, after a prompt of four times as many
    #[arg(long, value_name = "N", requires = "model")]
    tokens: Option<usize>,
    /// Hold every row against that of an older run; exit code 1 if one is slower or broken
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Write everything that was measured to this file as JSON; `-` is stdout, and then the table goes to stderr
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a line for each row to this file as CSV; `-` likewise
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl Arguments {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.json, &self.csv].into_iter().flatten()
    }

    /// Opens the files now, so that what cannot be written is known before minutes of work.
    fn can_write(&self) -> Result<(), String> {
        self.files().try_for_each(|path| will_write(path))
    }
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.files().filter(|path| is_stdout(path)).count() > 1 {
        return cannot_run("bench: --json and --csv cannot both be written to stdout");
    }
    let result = match &arguments.model {
        Some(name) => model::run(&model::Wanted {
            name,
            dtype: &arguments.dtype,
            layers: arguments.layers,
            tokens: arguments.tokens,
            quick: arguments.quick,
            adapter: &arguments.adapter,
            json: arguments.json.as_ref(),
        }),
        None if arguments.peak => peaks(arguments),
        None => bench(arguments),
    };
    match result {
        Ok(code) => code,
        Err(why) => cannot_run(&why),
    }
}

fn peaks(arguments: &Arguments) -> Result<ExitCode, String> {
    arguments.can_write()?;
    let gpu = Gpu::open_blocking(&arguments.adapter).map_err(|e| e.to_string())?;
    head(&gpu);
    let effort = if arguments.quick { Effort::quick() } else { Effort::default() };
    let readings = peak::read(&gpu, &effort)?;
    say(&peak::table(&readings));
    if let Some(path) = &arguments.json {
        let report = json!({
            "device": device::to_json(gpu.profile()),
            "probes": readings.iter().map(peak::to_json).collect::<Vec<_>>(),
        });
        write(path, &format!("{report:#}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn head(gpu: &Gpu) {
    let (profile, version) = (gpu.profile(), env!("CARGO_PKG_VERSION"));
    say(&format!("{} ({}), tachylite {version}\n", device::full_name(profile), profile.driver));
}

fn bench(arguments: &Arguments) -> Result<ExitCode, String> {
    let old = arguments.compare.as_deref().map(Report::read).transpose().map_err(|e| e.to_string())?;
    let gpu = Gpu::open_blocking(&arguments.adapter).map_err(|e| e.to_string())?;
    if let (Some(old), Some(path)) = (&old, &arguments.compare) {
        old.is_of(gpu.profile()).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let (quick, ops, kernels) = (arguments.quick, arguments.op.clone(), arguments.kernel.clone());
    let chosen = Selection { quick, ops, kernels, groups: arguments.group.clone() };
    let entries = chosen.entries(gpu.profile()).map_err(|e| e.to_string())?;
    let mut report = Report::new(gpu.profile());
    arguments.can_write()?;
    head(&gpu);
    let options = if arguments.quick { BenchOptions::quick() } else { BenchOptions::default() };
    let cold = if arguments.warm { Cold::Nothing } else { options.cold };
    let options = BenchOptions { cold, trusted: arguments.trusted, ..options };
    let begun = Instant::now();
    let mut tell = |r: &tachylite::gpu::Reading| progress(&format!("probes: {}", r.name));
    let mut bench = gpu.bench(options, &mut tell).map_err(|e| e.to_string())?;
    progress("");
    say(&peak::table(bench.readings()));
    report.probes = bench.readings().iter().map(peak::reached).collect();
    if let Some(old) = &old {
        bench.prefer_those_of(&old.rows);
    }
    report.rows = rows(&mut bench, &entries, begun)?;
    let mut regressions = 0;
    if let Some(old) = &old {
        regressions = versus::run(&mut bench, &entries, old, &mut report.rows, &say)?;
    }
    save(arguments, &report)?;
    let wrong = report.rows.iter().filter(|r| matches!(r.outcome, Outcome::Wrong(_))).count();
    let verdict = if wrong == 0 { "every result is right".to_owned() } else { format!("{wrong} WRONG") };
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!("{} in {seconds:.0} s, {verdict}\n", count(report.rows.len(), "row")));
    Ok(if wrong + regressions == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn save(arguments: &Arguments, report: &Report) -> Result<(), String> {
    match &arguments.json {
        Some(path) if is_stdout(path) => put(&report.to_json()),
        Some(path) => report.write(path).map_err(|e| e.to_string())?,
        None => {}
    }
    if let Some(path) = &arguments.csv {
        let lines = report.rows.iter().map(text::csv);
        let lines: Vec<String> = [text::CSV_COLUMNS.to_owned()].into_iter().chain(lines).collect();
        write(path, &(lines.join("\n") + "\n"))?;
    }
    Ok(())
}

/// Every entry, its rows printed as soon as they are known.
fn rows(bench: &mut Bench, entries: &[Entry], begun: Instant) -> Result<Vec<Row>, String> {
    say(
        "\n* what a plan takes; warm: the same data again and again; cold: data in turn, beyond any cache;\n",
    );
    say(
        "of probe: of what this device reaches in what binds the kernel; error: as a part of what is allowed\n",
    );
    say(&format!("{}\n", text::COLUMNS));
    let (mut out, mut shape): (Vec<Row>, String) = Default::default();
    let mut loaded = 0;
    let mut tell = |entry: &Entry, made: Option<Vec<Row>>| {
        progress("");
        let Some(made) = made else {
            loaded += 1;
            let seconds = begun.elapsed().as_secs_f64();
            progress(&format!(
                "{loaded} of {} entries, {seconds:.0} s: {}",
                entries.len(),
                entry.kernel.name
            ));
            return;
        };
        for row in made {
            if shape != row.shape {
                say(&format!("{}: {}\n", row.group, row.shape));
                shape.clone_from(&row.shape);
            }
            say(&format!("{}{}\n", text::line(&row), beside_checked(&row, &out)));
            if let Outcome::Wrong(_) = row.outcome {
                say(&format!("    again: tachylite check --case {}\n", row.case));
            }
            out.push(row);
        }
    };
    bench.rows_in_turn(entries, &mut tell).map_err(|e| e.to_string())?;
    Ok(out)
}

/// What a row without checks says of the row before, which is the same with checks.
fn beside_checked(row: &Row, before: &[Row]) -> String {
    let checked = before.last().filter(|b| row.trusted && b.case == row.case && b.cold == row.cold);
    let both = checked.and_then(Row::timed).zip(row.timed());
    both.map_or(String::new(), |(a, b)| {
        let c = compare(&a.samples(), &b.samples(), 0.03);
        format!("  {:.2} of checked, {}", c.ratio, c.verdict.name())
    })
}

/// What is being done, on a terminal alone: elsewhere the rows say as much.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        note(&format!("\r\x1b[K{what}"));
    }
}

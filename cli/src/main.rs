//! The `tachylite` program: which adapters there are, whether every kernel is right on them and how fast, how
//! a graph is planned, the plan as a file, what model files hold and cost in another type, and what is wrong with
//! a single shader.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod cases;
mod check;
mod device;
mod explain;
mod export;
mod info;
mod inspect;
mod lint;
mod mutate;
mod quantize;
mod reexec;
mod tune;

/// WGSL kernels for neural-network inference, each proven against a plain CPU kernel.
#[derive(Debug, Parser)]
#[command(name = "tachylite", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the adapters: driver, features, limits
    Info(info::Arguments),
    /// Check every kernel on every adapter against its CPU kernel
    Check(check::Arguments),
    /// Measure how fast the device is, and every kernel as a fraction of that
    Bench(bench::Arguments),
    /// Print the plan of a graph: what is fused, which kernels, which buffers
    Explain(explain::Arguments),
    /// Write the plan of a graph, and its weights, as files that any WebGPU can run
    Export(export::Arguments),
    /// Print what a model file holds: tensors, types, shapes, sizes, metadata
    Inspect(inspect::Arguments),
    /// Write a model file with its weights in another type, and say what that cost
    Quantize(quantize::Arguments),
    /// Look for what is wrong with a single compute shader on any GPU
    Lint(lint::Arguments),
    /// Break every shader in small ways, and see whether `check` notices
    Mutate(mutate::Arguments),
    /// Find the fastest right kernel for each shape by measuring, and keep it in a file
    Tune(tune::Arguments),
    /// What `check` starts for each adapter
    #[command(hide = true)]
    CheckWorker(check::worker::Arguments),
    /// What `check --cases` starts for each adapter
    #[command(hide = true)]
    CasesWorker(cases::worker::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Info(arguments) => info::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Quantize(arguments) => quantize::run(&arguments),
        Command::Lint(arguments) => lint::run(&arguments),
        Command::Mutate(arguments) => mutate::run(&arguments),
        Command::Tune(arguments) => tune::run(&arguments),
        Command::CheckWorker(arguments) => check::worker::run(&arguments),
        Command::CasesWorker(arguments) => cases::worker::run(&arguments),
    }
}

/// Says on stderr why nothing could be run.
fn cannot_run(why: &str) -> ExitCode {
    note(&format!("tachylite: {why}\n"));
    ExitCode::from(2)
}

/// What a shell says of a program that wrote to a pipe which nobody read any more.
const UNREAD: i32 = 128 + 13;

/// Whether stdout is for what a program reads, so that what people read goes to stderr.
static FOR_PROGRAMS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether a file that is to be written is stdout, `-`; else it is opened, so that what cannot be written is known
/// before minutes of work. What is in it stays.
fn will_write(path: &std::path::Path) -> Result<(), String> {
    if path == std::path::Path::new("-") {
        FOR_PROGRAMS.store(true, std::sync::atomic::Ordering::Relaxed);
        return Ok(());
    }
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).map_err(|e| format!("{}: {e}", path.display()))
}

/// Writes a file that a program reads, or stdout if it is `-`.
fn write(path: &std::path::Path, text: &str) -> Result<(), String> {
    if path == std::path::Path::new("-") {
        put(text);
        return Ok(());
    }
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// So many of something: `1 row`, `2 rows`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Writes for people: to stdout, unless programs read that.
fn say(text: &str) {
    if FOR_PROGRAMS.load(std::sync::atomic::Ordering::Relaxed) { note(text) } else { put(text) }
}

/// Writes to stdout, and ends the program quietly if nobody reads it any more.
fn put(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    said(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Ends the program if stdout took nothing: quietly if nobody reads it any more.
fn said(written: std::io::Result<()>) {
    use std::io::ErrorKind;
    match written {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(UNREAD),
        Err(e) => {
            note(&format!("tachylite: stdout: {e}\n"));
            std::process::exit(2);
        }
    }
}

/// Writes to stderr, whether anybody reads it or not.
fn note(text: &str) {
    use std::io::Write;
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

//! `tachylite check`: every case on every adapter, each adapter in a child process, so that a driver
//! that crashes or hangs is a result and not the end.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use tachylite::check::{Case, cases};

use crate::{cannot_run, device, reexec, say};

mod child;
mod progress;
mod record;
mod remote;
mod report;
mod select;
mod wire;
pub(crate) mod worker;

use child::Ran;
use record::Record;
use remote::Runner;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Check this adapter: `gpu` is the best one; else a part of a name, as `vulkan:llvmpipe`. May be
    /// repeated [default: all of them]
    #[arg(long, value_name = "NAME")]
    adapter: Vec<String>,
    /// Check another WebGPU than this program's own, through exported plans; on the adapter that it
    /// takes by itself. Needs Node
    #[arg(long, conflicts_with = "adapter")]
    runner: Option<Runner>,
    /// Only the cases of this op. May be repeated
    #[arg(long, value_name = "OP")]
    op: Vec<String>,
    /// Only the cases of this kernel. May be repeated
    #[arg(long, value_name = "KERNEL")]
    kernel: Vec<String>,
    /// Only the case of this name, or those whose names contain this. May be repeated
    #[arg(long, value_name = "CASE")]
    case: Vec<String>,
    /// Use this seed for every case, instead of the hash of its name
    #[arg(long)]
    seed: Option<u64>,
    /// Only the short list
    #[arg(long)]
    quick: bool,
    /// Print the names of the cases and run none
    #[arg(long)]
    list: bool,
    /// Write everything to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
    /// How long a case may take before it counts as hung, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// How many processes share the cases of an adapter [default: one for each core, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let cases = match select::select(arguments, cases()) {
        Ok(cases) => cases,
        Err(why) => return cannot_run(&why),
    };
    if arguments.list {
        cases.iter().for_each(|c| say(&format!("{c}\n")));
        return ExitCode::SUCCESS;
    }
    let adapters = match adapters(arguments) {
        Ok(adapters) => adapters,
        Err(why) => return cannot_run(&why),
    };
    // Now, not after minutes of work.
    if let Some(path) = &arguments.json
        && let Err(e) = std::fs::File::create(path)
    {
        return cannot_run(&format!("{}: {e}", path.display()));
    }
    say(&format!("checking {} cases on {}\n", cases.len(), adapters.join(", ")));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.map_or(cores.min(4), usize::from);
    let timeout = Duration::from_secs(arguments.timeout);
    let (mut records, mut missing) = (Vec::new(), false);
    for adapter in &adapters {
        let work = child::Work {
            adapter,
            runner: arguments.runner,
            cases: &cases,
            seed: arguments.seed,
            timeout,
            jobs,
            program: reexec::this_program,
        };
        match child::check(&work) {
            Ran::On(mut record) => {
                record.excuse();
                report::failures(&record);
                records.push(record);
            }
            Ran::Not(why) => {
                missing = true;
                eprintln!("tachylite: {adapter}: {why}");
            }
        }
    }
    if !records.is_empty() {
        report::table(&records);
    }
    if let Some(path) = &arguments.json
        && let Err(e) = std::fs::write(path, format!("{:#}\n", record::to_json(&records)))
    {
        return cannot_run(&format!("{}: {e}", path.display()));
    }
    match (missing, records.iter().all(Record::passed)) {
        (true, _) => ExitCode::from(2),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(1),
    }
}

/// The adapters that were asked for, or all there are.
fn adapters(arguments: &Arguments) -> Result<Vec<String>, String> {
    if let Some(runner) = arguments.runner {
        return Ok(vec![runner.name().to_owned()]);
    }
    if !arguments.adapter.is_empty() {
        return Ok(arguments.adapter.clone());
    }
    // In a child too: drivers have been known to crash while they are listed.
    let listed = reexec::this_program().and_then(|mut c| c.args(["info", "--json"]).output());
    let listed = listed.map_err(|e| format!("cannot start itself to list the adapters: {e}"))?;
    if !listed.status.success() {
        return Err(format!("listing the adapters ended with {}: name one with --adapter", listed.status));
    }
    let list: Value =
        serde_json::from_slice(&listed.stdout).map_err(|e| format!("listing the adapters: {e}"))?;
    let mut seen = HashSet::new();
    let names = list.as_array().into_iter().flatten();
    let names = names.map(|a| format!("{}:{}", text(a, "backend"), text(a, "name")));
    // Two adapters of one name are reached by one name.
    let names: Vec<String> = names.filter(|n| seen.insert(n.clone())).collect();
    if names.is_empty() { Err(device::NO_ADAPTER.to_owned()) } else { Ok(names) }
}

/// A field of a JSON object that is text; empty if it is not there.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// How a case is asked for again.
fn reproduce(adapter: &str, case: &str, seed: u64) -> String {
    let on = match Runner::of(adapter) {
        Some(runner) => format!("--runner {}", runner.name()),
        None => format!("--adapter {}", quoted(adapter)),
    };
    format!("tachylite check {on} --case {} --seed {seed}", quoted(case))
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The names of cases, as the worker is told them.
fn names(cases: &[Case]) -> String {
    cases.iter().map(|c| format!("{c}\n")).collect()
}

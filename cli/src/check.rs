//! `tachylite check`: every case on every adapter, each adapter in a child process, so that a driver
//! that crashes or hangs is a result and not the end.

use std::collections::HashSet;
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde_json::Value;
use tachylite::check::{Case, cases, drawn};

use crate::{cannot_run, device, reexec, say};

pub(crate) mod child;
pub(crate) mod machine;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod remote;
pub(crate) mod report;
mod select;
pub(crate) mod wire;
pub(crate) mod worker;

use child::Ran;
use record::{Record, Row};
use remote::Runner;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Check this adapter: `gpu` is the best one; else a part of a name, as `vulkan:llvmpipe`. May be
    /// repeated [default: all of them]
    #[arg(long, value_name = "NAME")]
    pub(crate) adapter: Vec<String>,
    /// Check this virtual GPU: the name of a personality, `presets`, `pairwise` or `all`. May be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "runner")]
    personality: Vec<String>,
    /// Check another WebGPU than this program's own, through exported plans; on the adapter that it
    /// takes by itself. Needs Node
    #[arg(long, conflicts_with = "adapter")]
    runner: Option<Runner>,
    /// Only the cases of this op. May be repeated
    #[arg(long, value_name = "OP")]
    pub(crate) op: Vec<String>,
    /// Only the cases of this kernel. May be repeated
    #[arg(long, value_name = "KERNEL")]
    kernel: Vec<String>,
    /// Only the case of this name, at any sizes, or those whose names contain this. May be repeated
    #[arg(long, value_name = "CASE")]
    pub(crate) case: Vec<String>,
    /// Run the cases of this suite, or of this folder of suites, instead of our own
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kernel", "seed", "quick", "part"])]
    cases: Option<std::path::PathBuf>,
    /// Instead of the list, so many combinations of what attention can do, drawn by --seed [its default is 0]
    #[arg(long, value_name = "N", conflicts_with = "cases")]
    random: Option<u64>,
    /// Use this seed for every case, instead of the hash of its name; with --random, draw by it instead
    #[arg(long)]
    seed: Option<u64>,
    /// Only the short list
    #[arg(long)]
    quick: bool,
    /// Only the K-th of N parts of the cases that all else leaves, from 1/N to N/N; those that share kernels are
    /// in one part
    #[arg(long, value_name = "K/N", value_parser = select::part)]
    part: Option<(usize, usize)>,
    /// Print the names of the cases and run none
    #[arg(long)]
    pub(crate) list: bool,
    /// Write everything to this file as JSON; `-` is stdout, and then what people read goes to stderr
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<std::path::PathBuf>,
    /// How long a case may take before it counts as hung, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
    /// How many processes share the cases of an adapter [default: one for each core, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
}

impl Arguments {
    /// The seed of every case's inputs, if it is not the hash of its name.
    fn inputs_seed(&self) -> Option<u64> {
        self.seed.filter(|_| self.random.is_none())
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if let Some(dir) = &arguments.cases {
        return crate::cases::run(arguments, dir);
    }
    let there = arguments.random.map_or_else(cases, |count| drawn(count, arguments.seed.unwrap_or(0)));
    let cases = match select::select(arguments, there) {
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
    if let Some(Err(why)) = arguments.json.as_deref().map(crate::will_write) {
        return cannot_run(&why);
    }
    // Said first and last: nobody should take this for a GPU's result.
    let none = adapters == [machine::VIRTUAL] && arguments.adapter.is_empty();
    if none {
        say(&format!("{}\n", device::NO_ADAPTER_BUT_VIRTUAL));
    }
    let (records, missing) = run_on(&adapters, &cases, arguments);
    if !records.is_empty() {
        report::table(&records);
    }
    if none {
        say(&format!("{}\n", device::NO_ADAPTER_BUT_VIRTUAL));
    }
    if let Some(path) = &arguments.json
        && let Err(why) = crate::write(path, &format!("{:#}\n", record::to_json(&records)))
    {
        return cannot_run(&why);
    }
    if !records.is_empty() && records.iter().all(Record::ran_none) {
        return cannot_run(&format!(
            "none of {} could run on {}: the lines that say `unsupported` tell why",
            crate::count(cases.len(), "case"),
            adapters.join(", ")
        ));
    }
    match (missing, records.iter().all(Record::passed)) {
        (true, _) => ExitCode::from(2),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(1),
    }
}

/// Runs the cases on every adapter; says whether one of them could not be run.
fn run_on(adapters: &[String], cases: &[Case], arguments: &Arguments) -> (Vec<Record>, bool) {
    say(&format!("checking {} on {}\n", crate::count(cases.len(), "case"), adapters.join(", ")));
    let timeout = Duration::from_secs(arguments.timeout);
    let names: Vec<String> = cases.iter().map(Case::to_string).collect();
    let (mut records, mut missing) = (Vec::new(), false);
    for adapter in adapters {
        let work = child::Work {
            adapter,
            names: &names,
            shares: select::shares(cases),
            timeout,
            patience: patience(arguments),
            jobs: jobs(arguments),
            program: &|| worker(arguments, adapter),
        };
        match child::check(work) {
            Ran::On { device, ends } => {
                let seed = |case: &Case| arguments.inputs_seed().unwrap_or_else(|| case.seed());
                let rows = cases.iter().zip(&ends).map(|(case, end)| Row::new(case, seed(case), end));
                let mut record = Record { asked: adapter.clone(), device, rows: rows.collect() };
                record.excuse();
                report::failures(&record);
                records.push(record);
            }
            Ran::Not(why) => {
                missing = true;
                crate::note(&format!("tachylite: {adapter}: {why}\n"));
            }
        }
    }
    (records, missing)
}

/// How much later than its child the parent gives up: a child watches its runner itself, and should be
/// heard before it is ended.
pub(crate) fn patience(arguments: &Arguments) -> Duration {
    arguments.runner.map_or(Duration::ZERO, |_| child::WATCHED)
}

/// How many children share the work.
pub(crate) fn jobs(arguments: &Arguments) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.jobs.map_or(cores.min(4), usize::from)
}

/// The adapters that were asked for, or all there are.
pub(crate) fn adapters(arguments: &Arguments) -> Result<Vec<String>, String> {
    if let Some(runner) = arguments.runner {
        return Ok(vec![runner.name().to_owned()]);
    }
    let mut asked = arguments.adapter.clone();
    for name in &arguments.personality {
        asked.extend(machine::personalities(name)?);
    }
    if !asked.is_empty() {
        let mut seen = HashSet::new();
        asked.retain(|name| seen.insert(name.clone()));
        return Ok(asked);
    }
    listed()
}

/// The names of all adapters there are; at least one.
pub(crate) fn listed() -> Result<Vec<String>, String> {
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
    Ok(if names.is_empty() { vec![machine::VIRTUAL.to_owned()] } else { names })
}

/// A field of a JSON object that is text; empty if it is not there.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// How an adapter, or a runner, is asked for again.
pub(crate) fn option(adapter: &str) -> String {
    match Runner::of(adapter) {
        Some(runner) => format!("--runner {}", runner.name()),
        None => format!("--adapter {}", quoted(adapter)),
    }
}

/// How a case is asked for again.
fn reproduce(adapter: &str, case: &str, seed: u64) -> String {
    let on = option(adapter);
    format!("tachylite check {on} --case {} --seed {seed}", quoted(case))
}

pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What starts a child for an adapter.
fn worker(arguments: &Arguments, adapter: &str) -> std::io::Result<Command> {
    let mut command = reexec::this_program()?;
    command.arg("check-worker");
    on(arguments, adapter, &mut command);
    if let Some(seed) = arguments.inputs_seed() {
        command.args(["--seed", &seed.to_string()]);
    }
    Ok(command)
}

/// Tells a child what it runs on.
pub(crate) fn on(arguments: &Arguments, adapter: &str, command: &mut Command) {
    match arguments.runner {
        None => command.args(["--adapter", adapter]),
        Some(runner) => {
            let seconds = arguments.timeout.to_string();
            command.args(["--runner", runner.name(), "--timeout", &seconds])
        }
    };
}

//! `tachylite check --cases DIR`: cases that nobody here wrote, through the same judge, on every adapter,
//! each adapter in child processes.

use std::process::{Command, ExitCode};
use std::time::Duration;

use serde_json::{Value, json};

use crate::check::child::{self, Ran};
use crate::check::{Arguments, adapters, jobs, on, patience};
use crate::{cannot_run, device, reexec, say};

mod attend;
mod attention;
mod build;
mod data;
mod gguf;
mod list;
mod misc;
mod onnx;
mod quant;
mod report;
mod run;
mod rwkv7;
mod suite;
pub(crate) mod worker;

use report::{Record, Row};
use suite::Suite;

/// Cases that a child gets at a time.
const SHARE: usize = 8;

/// A case by its names.
struct Named {
    suite: &'static str,
    /// `<suite>/<name>`.
    name: String,
    op: String,
}

pub(crate) fn run(arguments: &Arguments, dir: &std::path::Path) -> ExitCode {
    let (suites, ignored) = match suite::read_all(dir) {
        Ok(read) => read,
        Err(why) => return cannot_run(&why),
    };
    let all = arguments.case.is_empty() && arguments.op.is_empty();
    let cases = match select(arguments, &suites) {
        Ok(cases) => cases,
        Err(why) => return cannot_run(&why),
    };
    if arguments.list {
        cases.iter().for_each(|c| say(&format!("{}\n", c.name)));
        return ExitCode::SUCCESS;
    }
    let adapters = match adapters(arguments) {
        Ok(adapters) => adapters,
        Err(why) => return cannot_run(&why),
    };
    if let Some(Err(why)) = arguments.json.as_deref().map(crate::will_write) {
        return cannot_run(&why);
    }
    ignored.iter().for_each(|folder| say(&format!("{folder} is no suite of ops: left out\n")));
    say(&format!("checking {} on {}\n", crate::count(cases.len(), "case"), adapters.join(", ")));
    let (mut records, mut missing) = (Vec::new(), false);
    for adapter in &adapters {
        match on_adapter(arguments, dir, adapter, &cases) {
            Ok(record) => {
                report::failures(&record, dir);
                records.push(record);
            }
            Err(why) => {
                missing = true;
                crate::note(&format!("tachylite: {adapter}: {why}\n"));
            }
        }
    }
    let stale = if all { list::stale(&suites, &records) } else { Vec::new() };
    if !records.is_empty() {
        report::table(&records, &stale);
    }
    if let Some(path) = &arguments.json
        && let Err(why) = crate::write(path, &format!("{:#}\n", report::to_json(&records, &stale)))
    {
        return cannot_run(&why);
    }
    match (missing, records.iter().all(Record::passed)) {
        (true, _) => ExitCode::from(2),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(1),
    }
}

/// Runs the cases on one adapter.
fn on_adapter(
    arguments: &Arguments,
    dir: &std::path::Path,
    adapter: &str,
    cases: &[Named],
) -> Result<Record, String> {
    let names: Vec<String> = cases.iter().map(|c| c.name.clone()).collect();
    let starts = (0..names.len()).step_by(SHARE);
    let program = || -> std::io::Result<Command> {
        let mut command = reexec::this_program()?;
        command.args(["cases-worker", "--cases"]).arg(dir);
        on(arguments, adapter, &mut command);
        Ok(command)
    };
    let work = child::Work {
        adapter,
        names: &names,
        shares: starts.map(|at| at..names.len().min(at + SHARE)).collect(),
        timeout: Duration::from_secs(arguments.timeout),
        patience: patience(arguments),
        jobs: jobs(arguments),
        program: &program,
    };
    match child::check(work) {
        Ran::Not(why) => Err(why),
        Ran::On { device, ends } => {
            let profile = device::from_json(&device);
            let row = |(case, end)| {
                let mut row = Row::new(case, end);
                row.expecting(profile.expects_failure(&row.name.clone()));
                row
            };
            let rows = cases.iter().zip(&ends).map(row).collect();
            Ok(Record { asked: adapter.to_owned(), device, rows })
        }
    }
}

/// The cases that the arguments leave.
fn select(arguments: &Arguments, suites: &[Suite]) -> Result<Vec<Named>, String> {
    let all = suites.iter().flat_map(|s| s.cases.iter().map(move |c| (s.format, c)));
    let all: Vec<_> = all.map(|(suite, c)| Named { suite, name: c.name.clone(), op: c.op.clone() }).collect();
    let is_exact = |part: &String| all.iter().any(|c| c.name == *part);
    let by_part =
        |part: &String, name: &String| if is_exact(part) { name == part } else { name.contains(part) };
    for part in &arguments.case {
        if !all.iter().any(|c| by_part(part, &c.name)) {
            return Err(format!(
                "there is no case `{part}`; `tachylite check --cases DIR --list` prints all"
            ));
        }
    }
    if let Some(op) = arguments.op.iter().find(|op| all.iter().all(|c| c.op != **op)) {
        return Err(format!("no case is of an op `{op}`"));
    }
    let asked = |c: &Named| {
        (arguments.op.is_empty() || arguments.op.contains(&c.op))
            && (arguments.case.is_empty() || arguments.case.iter().any(|part| by_part(part, &c.name)))
    };
    let flags: Vec<bool> = all.iter().map(asked).collect();
    let chosen: Vec<_> = all.into_iter().zip(flags).filter_map(|(c, asked)| asked.then_some(c)).collect();
    if chosen.is_empty() { Err("no case has all that was asked for".to_owned()) } else { Ok(chosen) }
}

/// A number of a child's report, as JSON can write it.
fn shown(value: Option<&Value>) -> Value {
    value.cloned().unwrap_or(json!(null))
}

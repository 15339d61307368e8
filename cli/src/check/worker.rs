//! The child: opens one adapter and runs the cases named on stdin, an empty line after each share of
//! them, saying on stdout, a JSON object a line, what it is about to do before it does it. A line that is a
//! JSON object says which shader has another text from there on.

use std::cell::Cell;
use std::io::BufRead;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tachylite::Gpu;
use tachylite::check::{Case, Event, Failure, Machine, Outcome, Status, run as run_cases};
use tachylite::kernel::with_source;

use super::machine::virtual_gpu;
use super::remote::{Remote, Runner};
use super::wire::Ended;
use crate::{device, say};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The adapter to open
    #[arg(long, required_unless_present = "runner")]
    adapter: Option<String>,
    /// What runs exported plans instead
    #[arg(long)]
    runner: Option<Runner>,
    /// How long the runner may take to answer, in seconds
    #[arg(long, default_value_t = 120)]
    timeout: u64,
    /// The seed of every case
    #[arg(long)]
    seed: Option<u64>,
    /// Leave out what is left of a share once a case of it is wrong
    #[arg(long)]
    until_wrong: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let opened = match arguments.runner {
        None => {
            let name = arguments.adapter.as_deref().unwrap_or_default();
            match virtual_gpu(name) {
                Some(opened) => opened.map(|gpu| serve(&gpu, arguments, &|| None)),
                None => Gpu::open_blocking(name)
                    .map(|gpu| serve(&gpu, arguments, &|| None))
                    .map_err(|e| e.to_string()),
            }
        }
        Some(runner) => Remote::open(runner, Duration::from_secs(arguments.timeout))
            .map(|remote| serve(&remote, arguments, &|| remote.ended())),
    };
    opened.unwrap_or_else(|why| {
        line(&json!({ "refused": why }));
        ExitCode::from(2)
    })
}

/// Runs what stdin asks for. `ended` says how the machine ended, where it is a process that can: then
/// this one ends too, so that the case counts as what ended it.
fn serve<M: Machine>(machine: &M, arguments: &Arguments, ended: &dyn Fn() -> Option<Ended>) -> ExitCode {
    line(&json!({ "opened": device::to_json(machine.profile()) }));
    let (mut share, mut replaced): (Vec<Case>, Option<Replaced>) = (Vec::new(), None);
    for name in std::io::stdin().lock().lines().map_while(Result::ok) {
        if name.starts_with('{') {
            replaced = Replaced::read(&name);
            continue;
        }
        if !name.is_empty() {
            // By its name, since the list takes seconds to make.
            share.extend(Case::named(&name));
            continue;
        }
        let device_lost = match &replaced {
            Some(r) => with_source(&r.file, &r.text, || run_share(machine, &share, arguments, ended)),
            None => run_share(machine, &share, arguments, ended),
        };
        if let Some(code) = ended().map(told) {
            return code;
        }
        if device_lost {
            break;
        }
        line(&json!({ "idle": true }));
        share.clear();
    }
    ExitCode::SUCCESS
}

/// A shader's file and the text that it is to have.
struct Replaced {
    file: String,
    text: String,
}

impl Replaced {
    /// Of an object without them, that all shaders are as they are.
    fn read(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let field = |name| value.get(name)?.as_str().map(str::to_owned);
        Some(Self { file: field("file")?, text: field("text")? })
    }
}

/// Runs cases, saying so; whether the device was lost.
fn run_share<M: Machine>(
    machine: &M,
    share: &[Case],
    arguments: &Arguments,
    ended: &dyn Fn() -> Option<Ended>,
) -> bool {
    let (mut device_lost, wrong) = (false, Cell::new(false));
    let mut tell = |event: Event<'_>| match event {
        Event::Begin(case) => line(&json!({ "begin": case.to_string() })),
        Event::End(..) if ended().is_some() => {}
        Event::End(case, outcome) => {
            device_lost |= outcome.device_lost;
            wrong.set(wrong.get() || outcome.status == Status::Fail);
            line(&json!({ "end": row(case, outcome) }));
        }
    };
    if !arguments.until_wrong {
        run_cases(machine, share, arguments.seed, &mut tell);
        return device_lost;
    }
    // Cases that share pipelines at a time.
    for cases in share.chunk_by(|a, b| a.plan_name() == b.plan_name()) {
        run_cases(machine, cases, arguments.seed, &mut tell);
        if wrong.get() {
            break;
        }
    }
    device_lost
}

/// Tells the parent how the machine ended; gives the code to end with.
pub(crate) fn told(ended: Ended) -> ExitCode {
    match ended {
        Ended::Hung(_) => line(&json!({ "hung": true })),
        died => crate::note(&format!("{}\n", died.why())),
    }
    ExitCode::from(3)
}

fn line(value: &Value) {
    say(&format!("{value}\n"));
}

/// The result of a case.
fn row(case: &Case, outcome: &Outcome) -> Value {
    let (status, reason) = match &outcome.status {
        Status::Pass => ("pass", None),
        Status::Fail => ("fail", None),
        Status::Unsupported(why) => ("unsupported", Some(why)),
        Status::ExpectedFailure(why) => ("expected failure", Some(why)),
        Status::UnexpectedPass(why) => ("unexpected pass", Some(why)),
    };
    json!({
        "case": case.to_string(),
        "status": status,
        "reason": reason,
        "seed": outcome.seed.to_string(),
        "elements": outcome.elements,
        "worst": number(outcome.worst),
        "seconds": outcome.seconds,
        "failures": outcome.failures.iter().map(failure).collect::<Vec<_>>(),
        "device_lost": outcome.device_lost,
    })
}

fn failure(failure: &Failure) -> Value {
    let Some(verdict) = &failure.verdict else { return json!({ "what": failure.what }) };
    let first = verdict.first_bad.map(|b| {
        json!({
            "index": b.index,
            "got": number(b.got),
            "want": number(b.want),
            "allowed": number(b.allowed),
        })
    });
    json!({
        "what": failure.what,
        "first_bad": first,
        "bad": verdict.bad,
        "elements": verdict.elements,
        "worst": number(verdict.worst),
        "pattern": verdict.pattern,
        "nmse": number(verdict.nmse),
    })
}

/// A number, or its name if JSON has no way to write it.
fn number(v: f64) -> Value {
    if v.is_finite() { json!(v) } else { json!(v.to_string()) }
}

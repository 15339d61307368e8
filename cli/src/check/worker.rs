//! The child: opens one adapter and runs the cases named on stdin, an empty line after each share of
//! them, saying on stdout, a JSON object a line, what it is about to do before it does it.

use std::collections::HashMap;
use std::io::BufRead;
use std::process::ExitCode;

use serde_json::{Value, json};
use tachylite::Gpu;
use tachylite::check::{Case, Event, Failure, Outcome, Status, cases, run as run_cases};

use crate::{device, say};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The adapter to open
    #[arg(long)]
    adapter: String,
    /// The seed of every case
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let all: HashMap<String, Case> = cases().into_iter().map(|c| (c.to_string(), c)).collect();
    let gpu = match Gpu::open_blocking(&arguments.adapter) {
        Ok(gpu) => gpu,
        Err(e) => {
            line(&json!({ "refused": e.to_string() }));
            return ExitCode::from(2);
        }
    };
    line(&json!({ "opened": device::to_json(gpu.profile()) }));
    let mut share: Vec<Case> = Vec::new();
    for name in std::io::stdin().lock().lines().map_while(Result::ok) {
        if !name.is_empty() {
            share.extend(all.get(&name).cloned());
            continue;
        }
        let mut device_lost = false;
        run_cases(&gpu, &share, arguments.seed, &mut |event| match event {
            Event::Begin(case) => line(&json!({ "begin": case.to_string() })),
            Event::End(case, outcome) => {
                device_lost |= outcome.device_lost;
                line(&json!({ "end": row(case, outcome) }));
            }
        });
        if device_lost {
            break;
        }
        line(&json!({ "idle": true }));
        share.clear();
    }
    ExitCode::SUCCESS
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

//! The child: opens one adapter and runs the cases named on stdin, an empty line after each share of
//! them, saying on stdout, a JSON object a line, what it is about to do before it does it.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use tachylite::Gpu;

use super::run::run as run_case;
use super::suite::{Spec, Suite, read_all};
use crate::{device, say};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The adapter to open
    #[arg(long)]
    adapter: String,
    /// A suite, or a folder of suites
    #[arg(long)]
    cases: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let refuse = |why: String| {
        line(&json!({ "refused": why }));
        ExitCode::from(2)
    };
    let suites = match read_all(&arguments.cases) {
        Ok((suites, _)) => suites,
        Err(why) => return refuse(why),
    };
    let all: HashMap<&str, (&Suite, &Spec)> =
        suites.iter().flat_map(|s| s.cases.iter().map(move |c| (c.name.as_str(), (s, c)))).collect();
    let gpu = match Gpu::open_blocking(&arguments.adapter) {
        Ok(gpu) => gpu,
        Err(e) => return refuse(e.to_string()),
    };
    line(&json!({ "opened": device::to_json(gpu.profile()) }));
    for name in std::io::stdin().lock().lines().map_while(Result::ok) {
        if name.is_empty() {
            line(&json!({ "idle": true }));
            continue;
        }
        let Some((suite, spec)) = all.get(name.as_str()) else { continue };
        line(&json!({ "begin": name }));
        let outcome = run_case(&gpu, suite, spec);
        line(&json!({ "end": outcome.to_json() }));
        if outcome.device_lost {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn line(value: &Value) {
    say(&format!("{value}\n"));
}

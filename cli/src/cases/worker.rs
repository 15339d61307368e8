//! The child: opens one adapter and runs the cases named on stdin, an empty line after each share of
//! them, saying on stdout, a JSON object a line, what it is about to do before it does it.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tachylite::Gpu;
use tachylite::check::Machine;

use super::run::run as run_case;
use super::suite::{Spec, Suite, read_all};
use crate::check::machine::virtual_gpu;
use crate::check::remote::{Remote, Runner};
use crate::check::wire::Ended;
use crate::check::worker::told;
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
    let opened = match arguments.runner {
        None => {
            let name = arguments.adapter.as_deref().unwrap_or_default();
            match virtual_gpu(name) {
                Some(opened) => opened.map(|gpu| serve(&gpu, &all, &|| None)),
                None => {
                    Gpu::open_blocking(name).map(|gpu| serve(&gpu, &all, &|| None)).map_err(|e| e.to_string())
                }
            }
        }
        Some(runner) => Remote::open(runner, Duration::from_secs(arguments.timeout))
            .map(|remote| serve(&remote, &all, &|| remote.ended())),
    };
    opened.unwrap_or_else(refuse)
}

/// Runs what stdin asks for. `ended` says how the machine ended, where it is a process that can.
fn serve<M: Machine>(
    machine: &M,
    all: &HashMap<&str, (&Suite, &Spec)>,
    ended: &dyn Fn() -> Option<Ended>,
) -> ExitCode {
    line(&json!({ "opened": device::to_json(machine.profile()) }));
    for name in std::io::stdin().lock().lines().map_while(Result::ok) {
        if name.is_empty() {
            line(&json!({ "idle": true }));
            continue;
        }
        let Some((suite, spec)) = all.get(name.as_str()) else { continue };
        line(&json!({ "begin": name }));
        let outcome = run_case(machine, suite, spec);
        if let Some(code) = ended().map(told) {
            return code;
        }
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

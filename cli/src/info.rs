//! `tachylite info`: the adapters.

use std::process::ExitCode;

use tachylite::Gpu;

use crate::{device, say};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print JSON: a list with an object for each adapter, best first
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let adapters = Gpu::adapters_blocking();
    if arguments.json {
        let list = serde_json::Value::from_iter(adapters.iter().map(device::to_json));
        say(&format!("{list:#}\n"));
    } else if adapters.is_empty() {
        say(&format!("{}\n", device::NO_ADAPTER));
    } else {
        say(&adapters.iter().map(device::to_text).collect::<Vec<_>>().join("\n"));
    }
    ExitCode::SUCCESS
}

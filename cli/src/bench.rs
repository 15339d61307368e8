//! `tachylite bench`: how fast a device is, and how fast every kernel is as a fraction of that.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use tachylite::Gpu;
use tachylite::gpu::Effort;

use crate::{cannot_run, device, say};

mod peak;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The adapter; `gpu` is the best there is
    #[arg(long, value_name = "ADAPTER", default_value = "gpu")]
    adapter: String,
    /// Only how fast the device is: its probes
    #[arg(long)]
    peak: bool,
    /// Measure less often
    #[arg(long)]
    quick: bool,
    /// Write everything that was measured, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match bench(arguments) {
        Ok(code) => code,
        Err(why) => cannot_run(&why),
    }
}

fn bench(arguments: &Arguments) -> Result<ExitCode, String> {
    let gpu = Gpu::open_blocking(&arguments.adapter).map_err(|e| e.to_string())?;
    let effort = if arguments.quick { Effort::quick() } else { Effort::default() };
    say(&format!("{}\n", device::full_name(gpu.profile())));
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

fn write(path: &std::path::Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

//! `tachylite explain`: the plan of a graph, as a report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tachylite::plan::{Determinism, Numerics, Policy, plan};
use tachylite::tune::Tuning;
use tachylite::{DType, Gpu, Graph, Plan, Profile};

use crate::{cannot_run, say};

mod encoder;
mod json;

pub(crate) use json::FORMAT;

#[derive(Debug, clap::Args)]
#[command(after_long_help = FORMAT)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
}

/// A graph, and what it is planned for.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    /// The graph, as JSON; `--help` describes it
    #[arg(required_unless_present = "encoder", conflicts_with = "encoder")]
    graph: Option<PathBuf>,
    /// The sentence encoder all-MiniLM-L6-v2 instead
    #[arg(long)]
    encoder: bool,
    /// Types of the encoder's weights: f32, f16, i8 or q8_0
    #[arg(long, default_value = "f32", requires = "encoder")]
    weights: String,
    /// The adapter to plan for; `portable` is what every WebGPU grants
    #[arg(long, value_name = "ADAPTER", default_value = "portable")]
    profile: String,
    /// Let what won by measuring go before estimates: a file that `tachylite tune` made on this adapter
    #[arg(long, value_name = "FILE")]
    tuning: Option<PathBuf>,
    /// Leave every op alone
    #[arg(long)]
    no_fuse: bool,
    /// Let no row's bits depend on other rows
    #[arg(long)]
    batch_invariant: bool,
    /// What kernels may compute besides f32: another function, of less accuracy
    #[arg(long, value_enum, default_value = "f32")]
    numerics: Class,
}

/// [`Numerics`], as they are asked for.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Class {
    /// Inputs as given
    F32,
    /// Operands rounded to f16, relative to the largest of their row: for cooperative matrices
    F16Staged,
    /// Rows of activations rounded to int8
    Int8Activations,
}

impl From<Class> for Numerics {
    fn from(class: Class) -> Self {
        match class {
            Class::F32 => Self::F32,
            Class::F16Staged => Self::F16Staged,
            Class::Int8Activations => Self::Int8Activations,
        }
    }
}

impl Source {
    /// The graph, the device and the plan.
    pub fn plan(&self) -> Result<(Graph, Profile, Plan), String> {
        let graph = graph(self)?;
        let mut profile = match self.profile.as_str() {
            "portable" => Profile::portable(),
            name => Gpu::open_blocking(name).map_err(|e| e.to_string())?.profile().clone(),
        };
        if let Some(path) = &self.tuning {
            let tuning = Tuning::read(path, &profile).and_then(|t| profile.with_tuning(t));
            profile = tuning.map_err(|e| e.to_string())?;
        }
        let determinism =
            if self.batch_invariant { Determinism::BatchInvariant } else { Determinism::Repeatable };
        let numerics = self.numerics.into();
        let policy = Policy { fuse: !self.no_fuse, determinism, numerics, ..Policy::default() };
        let plan = plan(&graph, &profile, &policy).map_err(|e| e.to_string())?;
        Ok((graph, profile, plan))
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match arguments.source.plan() {
        Ok((graph, profile, plan)) => {
            say(&format!("device    {}:{}\n{}", profile.backend, profile.name, plan.explain(&graph)));
            ExitCode::SUCCESS
        }
        Err(why) => cannot_run(&why),
    }
}

fn graph(arguments: &Source) -> Result<Graph, String> {
    let Some(path) = &arguments.graph else {
        let dtype = DType::parse(&arguments.weights).filter(|d| *d != DType::U32).ok_or_else(|| {
            format!("`{}` is no type of weights; there are f32, f16, i8 and q8_0", arguments.weights)
        })?;
        return encoder::graph(dtype).map_err(|e| e.to_string());
    };
    read(path)
}

/// A graph from a file.
pub(crate) fn read(path: &Path) -> Result<Graph, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    json::graph(&text).map_err(|e| format!("{}: {e}", path.display()))
}

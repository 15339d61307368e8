//! `tachylite export`: a plan and its weights as files that `web/runner.js` runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use safetensors::{Dtype, SafeTensors};
use tachylite::plan::WeightSource;
use tachylite::plan::prepare::Weights;
use tachylite::{DType, Plan, Tensor, export};

use crate::explain::{FORMAT, Source};
use crate::{cannot_run, say};

#[derive(Debug, clap::Args)]
#[command(after_long_help = FORMAT)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Where the plan goes; its weights go beside it, into OUT.safetensors
    #[arg(long, value_name = "OUT.json")]
    out: PathBuf,
    /// The graph's weights by name, as safetensors; those of type q8_0 as the bytes of their blocks, U8
    #[arg(long, value_name = "FILE", conflicts_with = "plan_only")]
    tensors: Option<PathBuf>,
    /// Write no weights
    #[arg(long)]
    plan_only: bool,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match written(arguments) {
        Ok(files) => {
            files.iter().for_each(|f| say(&format!("{}\n", f.display())));
            ExitCode::SUCCESS
        }
        Err(why) => cannot_run(&why),
    }
}

fn written(arguments: &Arguments) -> Result<Vec<PathBuf>, String> {
    let (_, _, plan) = arguments.source.plan()?;
    let weights = match &arguments.tensors {
        Some(path) => Some(read(path, &plan)?),
        None if arguments.plan_only => None,
        None if plan.weights.is_empty() => Some(Weights::new()),
        None => {
            let first = &plan.weights[0].sources[0].name;
            return Err(format!(
                "the graph has weights, as `{first}`: give them with --tensors FILE, or write the plan \
                 alone with --plan-only"
            ));
        }
    };
    export::write(&plan, weights.as_ref(), &arguments.out, arguments.force).map_err(|e| match e.to_string() {
        there if there.ends_with("is there already") => format!("{there}: --force replaces it"),
        other => other,
    })
}

/// The weights that a plan wants, from a file.
fn read(path: &Path, plan: &Plan) -> Result<Weights, String> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let bytes = std::fs::read(path).map_err(|e| at(&e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| at(&e))?;
    let sources = plan.weights.iter().flat_map(|w| &w.sources);
    sources.map(|s| Ok((s.name.clone(), tensor(&file, s).map_err(|e| at(&e))?))).collect()
}

fn tensor(file: &SafeTensors<'_>, source: &WeightSource) -> Result<Tensor, String> {
    let WeightSource { name, dtype, shape } = source;
    let view = file.tensor(name).map_err(|_| format!("there is no tensor `{name}`"))?;
    let fits = match dtype {
        DType::F32 => view.dtype() == Dtype::F32,
        DType::F16 => view.dtype() == Dtype::F16,
        DType::U32 => view.dtype() == Dtype::U32,
        DType::I8 => view.dtype() == Dtype::I8,
        DType::Bf16 => view.dtype() == Dtype::BF16,
        // Blocks are bytes.
        _ => view.dtype() == Dtype::U8,
    };
    if !fits {
        return Err(format!("`{name}` is {:?}, but the graph has it as {dtype}", view.dtype()));
    }
    // The last axis of blocks is bytes in the file, so their shape is known by its length alone.
    if dtype.block() == 1 && view.shape() != shape {
        return Err(format!("`{name}` is {:?}, but the graph has it as {shape:?}", view.shape()));
    }
    Tensor::new(*dtype, shape, view.data()).map_err(|e| format!("`{name}`: {e}"))
}

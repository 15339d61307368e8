//! `tachylite lint`: a single compute shader on virtual GPUs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tachylite::virtual_gpu::Personality;
use tachylite::virtual_gpu::lint::{Refused, Setup, lint};

use crate::{cannot_run, say};

mod report;
mod setup;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shader. What it does not say about its run stands in NAME.lint.toml beside NAME.wgsl, or in flags,
    /// which come first
    #[arg(value_name = "FILE.wgsl")]
    file: PathBuf,
    /// Read this instead of NAME.lint.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Workgroups along each axis; 1 where left out
    #[arg(long, value_name = "X,Y,Z")]
    dispatch: Option<String>,
    /// A buffer: elements of its runtime-sized array and what it holds at first, random, zero, unwritten or
    /// a list of numbers that repeats, as x=len:64,fill:random or x=fill:[1,2]. May be repeated
    #[arg(long, value_name = "VAR=len:N,fill:F")]
    buffer: Vec<String>,
    /// The value of an override. May be repeated
    #[arg(long = "override", value_name = "NAME=VALUE")]
    overrides: Vec<String>,
    /// The entry point, where there are several
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Run it on this virtual GPU: `presets` are one for each family, `all` every one that has a name. May be
    /// repeated
    #[arg(long, value_name = "NAME", default_value = "all")]
    personality: Vec<String>,
    /// What random contents are drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write what was found to this file as JSON; `-` is stdout, and then nothing else is printed there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match linted(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => cannot_run(&why),
    }
}

/// Whether nothing but warnings was found.
fn linted(arguments: &Arguments) -> Result<bool, String> {
    let file = &arguments.file;
    let source = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let (setup, config) = setup(arguments)?;
    let findings = lint(&source, &setup).map_err(|why| refused(file, config.as_deref(), &why))?;
    match &arguments.json {
        Some(path) if path == Path::new("-") => {
            say(&format!("{:#}\n", report::to_json(&setup, &findings)));
        }
        Some(path) => {
            std::fs::write(path, format!("{:#}\n", report::to_json(&setup, &findings)))
                .map_err(|e| format!("{}: {e}", path.display()))?;
            say(&report::to_text(&setup, &findings));
        }
        None => say(&report::to_text(&setup, &findings)),
    }
    Ok(findings.iter().all(|f| f.kind.is_warning()))
}

/// How the shader is run, and the file that says so, if there is one.
fn setup(arguments: &Arguments) -> Result<(Setup, Option<PathBuf>), String> {
    let beside = arguments.file.with_extension("lint.toml");
    let config = match &arguments.config {
        Some(path) => Some(path.clone()),
        None => beside.is_file().then_some(beside),
    };
    let mut said = match &config {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            setup::read(&text).map_err(|e| format!("{}:{e}", path.display()))?
        }
        None => setup::Said::default(),
    };
    if let Some(dispatch) = &arguments.dispatch {
        said.dispatch = Some(setup::dispatch(dispatch)?);
    }
    arguments.buffer.iter().try_for_each(|text| said.buffer(text))?;
    arguments.overrides.iter().try_for_each(|text| said.override_value(text))?;
    let Some(dispatch) = said.dispatch else {
        let beside = arguments.file.with_extension("lint.toml");
        let place = config.as_ref().unwrap_or(&beside).display();
        return Err(format!(
            "how many workgroups to run is not said: give `dispatch = [x, y, z]` in {place}, or --dispatch"
        ));
    };
    let setup = Setup {
        file: arguments.file.display().to_string(),
        entry: arguments.entry.clone().or(said.entry),
        dispatch,
        buffers: said.buffers,
        overrides: said.overrides.into_iter().collect(),
        seed: arguments.seed,
        personalities: personalities(&arguments.personality)?,
    };
    Ok((setup, config))
}

fn personalities(names: &[String]) -> Result<Vec<Personality>, String> {
    let mut found: Vec<Personality> = Vec::new();
    for name in names {
        let named = match name.as_str() {
            "all" => Personality::all(),
            "presets" => Personality::presets(),
            "pairwise" => Personality::pairwise(),
            name => vec![Personality::named(name).ok_or_else(|| {
                let there: Vec<_> = Personality::all().into_iter().map(|p| p.name).collect();
                format!(
                    "there is no personality `{name}`; there are all, presets, pairwise, {}",
                    there.join(", ")
                )
            })?],
        };
        for personality in named {
            if !found.iter().any(|p| p.name == personality.name) {
                found.push(personality);
            }
        }
    }
    Ok(found)
}

/// Why nothing was run, with the file that is to be mended.
fn refused(file: &Path, config: Option<&Path>, why: &Refused) -> String {
    match (why, config) {
        (Refused::Shader(why), _) => match why.place {
            Some(place) => format!("{}:{place}: {}", file.display(), why.message),
            None => format!("{}: {}", file.display(), why.message),
        },
        (Refused::Setup { .. }, Some(config)) => format!("{}: {why}", config.display()),
        (Refused::Setup { .. }, None) => format!("{}: {why}", file.display()),
    }
}

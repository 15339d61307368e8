//! `tachylite mutate`: does `check` notice? Every shader is broken in small ways, one at a time, and the
//! cases of the short list that have the broken line in their text are run until one of them fails.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::check::listed;
use crate::check::machine::VIRTUAL;
use crate::{cannot_run, say};

mod draw;
mod equivalent;
mod operators;
mod reach;
mod report;
mod run;
mod state;
mod tokens;

use draw::{Asked, draw};
use operators::Mutant;
use reach::Reach;
use report::{Count, ENOUGH, Judged};
use run::{Settings, Task};
use state::State;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Ask this device. May be repeated: a mutant is killed if any of them notices
    /// [default: `virtual`, then llvmpipe on Vulkan if it is there]
    #[arg(long, value_name = "NAME")]
    adapter: Vec<String>,
    /// Only mutants of this shader, a name under shaders/. May be repeated
    #[arg(long, value_name = "SHADER")]
    file: Vec<String>,
    /// Only mutants of this operator. May be repeated
    #[arg(long, value_name = "NAME")]
    operator: Vec<String>,
    /// At most so many mutants of a shader
    #[arg(long, value_name = "N", default_value_t = 30)]
    per_shader: usize,
    /// Draw them by this seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Only so many of what was drawn, of all shaders in turn
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Append what is found out to this file, and leave out what it says already
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Run again what the file of --state says has survived
    #[arg(long, requires = "state")]
    survivors: bool,
    /// Print the mutants and run none
    #[arg(long)]
    list: bool,
    /// Write everything to this file as JSON; `-` is stdout, and then what people read goes to stderr
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How long a case may take before it counts as hung, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// How many mutants are run at once [default: one for each core, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match mutate(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => cannot_run(&why),
    }
}

/// Whether enough was killed.
fn mutate(arguments: &Arguments) -> Result<bool, String> {
    arguments.json.as_deref().map_or(Ok(()), crate::will_write)?;
    let equivalents = equivalent::list()?;
    let state = State::open(arguments.state.as_deref())?;
    let reach = Reach::new()?;
    let asked = Asked {
        files: &arguments.file,
        operators: &arguments.operator,
        per_shader: arguments.per_shader,
        seed: arguments.seed,
        sample: arguments.sample,
    };
    let drawn = draw(&asked, &reach)?;
    if drawn.is_empty() {
        return Err("no mutant is all that was asked for".to_owned());
    }
    if arguments.list {
        drawn.iter().for_each(|m| say(&m.to_string()));
        return Ok(true);
    }
    let devices = devices(arguments)?;
    let known = |m: &Mutant| {
        let again = |fate| arguments.survivors && fate == state::Fate::Survived;
        state.find(m, &devices).filter(|r| !again(r.fate)).cloned()
    };
    let (mut judged, mut tasks) = (Vec::new(), Vec::new());
    for mutant in &drawn {
        match known(mutant) {
            Some(record) => judged.push((mutant, record)),
            None => tasks.push(Task { mutant, cases: reach.cases(mutant) }),
        }
    }
    say(&format!("{} mutants, {} of them known, on {}\n", drawn.len(), judged.len(), devices.join(", ")));
    let timeout = Duration::from_secs(arguments.timeout);
    let settings = Settings { devices: &devices, timeout, jobs: jobs(arguments) };
    let (records, failing) = run::run(&tasks, &settings, &state)?;
    judged.extend(tasks.iter().map(|t| t.mutant).zip(records));
    let listed = |m: &Mutant| equivalents.iter().find(|e| e.is(m));
    let mut judged: Vec<_> = judged
        .into_iter()
        .map(|(mutant, record)| Judged { mutant, record, listed: listed(mutant) })
        .collect();
    judged.sort_by_key(|j| drawn.iter().position(|m| m == j.mutant));
    conclude(arguments, &judged, &devices, &failing)
}

fn conclude(
    arguments: &Arguments,
    judged: &[Judged<'_>],
    devices: &[String],
    failing: &[String],
) -> Result<bool, String> {
    say(&report::to_text(judged));
    if !failing.is_empty() {
        say(&format!("\nof no use, since they fail unbroken:\n  {}\n", failing.join("\n  ")));
    }
    if let Some(path) = &arguments.json {
        let json = report::to_json(judged, devices, arguments.seed);
        crate::write(path, &format!("{json:#}\n"))?;
    }
    Ok(Count::of(judged).score() >= ENOUGH && !judged.iter().any(Judged::is_misjudged))
}

fn jobs(arguments: &Arguments) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.jobs.map_or(cores.min(4), usize::from)
}

/// The devices that were asked for, or those that every machine can have.
fn devices(arguments: &Arguments) -> Result<Vec<String>, String> {
    if !arguments.adapter.is_empty() {
        return Ok(arguments.adapter.clone());
    }
    // A virtual GPU is always there.
    let llvmpipe = listed().unwrap_or_default().into_iter().find(|name| name.starts_with("vulkan:llvmpipe"));
    Ok([VIRTUAL.to_owned()].into_iter().chain(llvmpipe).collect())
}

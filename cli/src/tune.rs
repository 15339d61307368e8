//! `tachylite tune`: which kernel is fastest for which shape on an adapter, found by measuring, and kept
//! in a file that plans can be made with.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tachylite::bench::Verdict;
use tachylite::gpu::Tuned;
use tachylite::op::Op;
use tachylite::plan::{Determinism, Policy};
use tachylite::tune::{Task, Tasks, Tuning, file_name};
use tachylite::{Gpu, Profile, ops};

use crate::{cannot_run, count, explain, note, say};

mod cross;
mod suite;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Tune for the steps of this graph: JSON, as `explain` reads it
    #[arg(long, value_name = "FILE", conflicts_with = "suite")]
    graph: Option<PathBuf>,
    /// Tune for the shapes of a suite
    #[arg(long, value_name = "NAME", default_value = "quick", value_parser = suite::NAMES)]
    suite: String,
    /// Only this op, and what is fused into it; may be repeated
    #[arg(long, value_name = "OP")]
    op: Vec<String>,
    /// The adapter: `gpu` is the best one; else a part of a name, as `vulkan:llvmpipe`
    #[arg(long, value_name = "NAME", default_value = "gpu")]
    adapter: String,
    /// How long to measure, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    budget: f64,
    /// The file to add the results to [default: one for each adapter, driver and version in the user's
    /// cache folder]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Let no row's bits depend on other rows
    #[arg(long)]
    batch_invariant: bool,
    /// Print what the file knows, and measure nothing
    #[arg(long)]
    show: bool,
    /// Measure on this adapter what won on others: the winners in these files against those in `--file`
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["graph", "suite", "show"])]
    cross: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match tune(arguments) {
        Ok(code) => code,
        Err(why) => cannot_run(&why),
    }
}

fn tune(arguments: &Arguments) -> Result<ExitCode, String> {
    let gpu = Gpu::open_blocking(&arguments.adapter).map_err(|e| e.to_string())?;
    let profile = gpu.profile();
    let path = arguments.file.clone().map_or_else(|| default_file(profile), Ok)?;
    say(&format!("device    {}:{} ({})\n", profile.backend, profile.name, profile.driver));
    say(&format!("file      {}\n", path.display()));
    if arguments.show {
        show(&Tuning::read(&path, profile).map_err(|e| e.to_string())?);
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.cross.is_empty() {
        return cross::run(
            &gpu,
            &path,
            &arguments.cross,
            &wanted(&arguments.op)?,
            seconds(arguments.budget)?,
        );
    }
    let determinism =
        if arguments.batch_invariant { Determinism::BatchInvariant } else { Determinism::Repeatable };
    let tasks = tasks(arguments, profile, &Policy { determinism, ..Policy::default() })?;
    // Written now, so that what cannot be written is known before minutes of work.
    let mut tuning = Tuning::new(profile).merge_into(&path).map_err(|e| e.to_string())?;
    measure(&gpu, &tasks, seconds(arguments.budget)?, &path, &mut tuning)
}

fn seconds(n: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(n).map_err(|_| format!("tune: --budget must be seconds, but it is {n}"))
}

fn tasks(arguments: &Arguments, profile: &Profile, policy: &Policy) -> Result<Tasks, String> {
    let ops = wanted(&arguments.op)?;
    let mut tasks = match &arguments.graph {
        None => suite::tasks(&arguments.suite, profile, policy)?,
        Some(path) => Tasks::of_graph(&explain::read(path)?, profile, policy).map_err(|e| e.to_string())?,
    };
    if !ops.is_empty() {
        tasks.tasks.retain(|task| ops.contains(&task.op));
        tasks.others.clear();
    }
    if tasks.tasks.is_empty() && !ops.is_empty() {
        return Err(format!("tune: there is no shape to measure of the ops {}", arguments.op.join(", ")));
    }
    Ok(tasks)
}

/// The ops of these names; none stand for all.
fn wanted(names: &[String]) -> Result<Vec<&'static Op>, String> {
    let find = |name: &String| {
        ops::by_name(name).ok_or_else(|| {
            let all: Vec<&str> = ops::ALL.iter().map(|op| op.name).collect();
            format!("tune: there is no op `{name}`; there are {}", all.join(", "))
        })
    };
    names.iter().map(find).collect()
}

fn measure(
    gpu: &Gpu,
    tasks: &Tasks,
    budget: Duration,
    path: &Path,
    tuning: &mut Tuning,
) -> Result<ExitCode, String> {
    for key in &tasks.others {
        say(&format!("no case of `check` stands for this, so the estimate decides: {key}\n"));
    }
    say(&format!("{:<52} {:<34} {:<34} {:>6}  verdict\n", "shape", "estimate", "winner", "ratio"));
    let (begun, mut done, mut wrong, mut unsaved) = (Instant::now(), 0, Vec::new(), None);
    let total = tasks.tasks.len();
    let progress = |done: usize| {
        // On a terminal alone: elsewhere the rows say as much.
        if std::io::stderr().is_terminal() {
            let seconds = begun.elapsed().as_secs_f64();
            let budget = budget.as_secs_f64();
            note(&format!("\r\x1b[K{done} of {total} shapes, {seconds:.0} of {budget:.0} s\r"));
        }
    };
    progress(0);
    let result = gpu.tune(&tasks.tasks, budget, tuning, &mut |task, tuned, tuning| {
        done += 1;
        progress(done);
        say(&row(task, tuned));
        wrong.extend(tuned.rejected.iter().cloned());
        unsaved = tuning.merge_into(path).err();
    });
    let finished = result.map_err(|e| e.to_string())?;
    if finished == 0 && !tasks.tasks.is_empty() {
        let seconds = budget.as_secs_f64();
        let shapes = count(total, "shape");
        return Err(format!(
            "tune: {seconds} s are too short for the first of {shapes}: nothing is measured"
        ));
    }
    if finished < tasks.tasks.len() {
        say(&format!(
            "the time was up before {} of {}\n",
            tasks.tasks.len() - finished,
            count(tasks.tasks.len(), "shape")
        ));
    }
    for (kernel, rejected) in &wrong {
        say(&format!(
            "WRONG  {kernel}: {}\n       again: tachylite check --adapter {} --case {}\n",
            rejected.why,
            gpu.profile().backend,
            rejected.case
        ));
    }
    match unsaved {
        Some(e) => Err(e.to_string()),
        None => Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }),
    }
}

/// A task as people read it: the case's name without kernel and inputs.
fn shape(case: &str) -> String {
    let parts: Vec<&str> = case.split('/').collect();
    let (op, rest) = match parts[..] {
        [op, _, types, variant, sizes, _] => (op, [types, variant, sizes]),
        [kernel, types, variant, sizes, _] => {
            (kernel.split('.').next().unwrap_or(kernel), [types, variant, sizes])
        }
        _ => return case.to_owned(),
    };
    let [types, variant, sizes] = rest;
    let variant = if variant == "plain" { String::new() } else { format!(" {variant}") };
    format!("{op} {types} {sizes}{variant}")
}

fn row(task: &Task, tuned: &Tuned) -> String {
    let case = task.kernels.first().map_or(String::new(), |k| shape(&task.case(k).to_string()));
    let took = |kernel: &str| {
        let seconds = tuned.times.iter().find(|(k, _)| k == kernel).map_or(f64::NAN, |(_, s)| *s);
        format!("{kernel} {}", time(seconds))
    };
    let winner = tuned.winner.as_deref().map_or("none is right".to_owned(), took);
    let verdict = match &tuned.comparison {
        None => "no other".to_owned(),
        Some((_, c)) if c.verdict == Verdict::Faster => "faster".to_owned(),
        Some((other, c)) => format!("{other} is {} ({:.2})", c.verdict.name(), c.ratio),
    };
    let mut text =
        format!("{case:<52} {:<34} {winner:<34} {:>6.2}  {verdict}\n", took(&tuned.estimate), tuned.ratio());
    for (kernel, why) in &tuned.left_out {
        text += &format!("  without {kernel}: {why}\n");
    }
    text
}

fn show(tuning: &Tuning) {
    for (key, w) in tuning.winners() {
        let over = if w.kernel == w.estimate {
            "as estimated".to_owned()
        } else {
            format!("{:.2} of the time of {}", w.ratio, w.estimate)
        };
        say(&format!("{key}\n    {} {}, {over}; measured {}\n", w.kernel, time(w.seconds), shape(&w.case)));
    }
    for (name, r) in tuning.rejected() {
        say(&format!("WRONG  {name}: {}\n       again: tachylite check --case {}\n", r.why, r.case));
    }
    say(&format!("{}, {} rejected\n", count(tuning.winners().count(), "winner"), tuning.rejected().count()));
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s.is_nan() => String::new(),
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

/// The file of a device's tuning in the user's cache folder.
fn default_file(profile: &Profile) -> Result<PathBuf, String> {
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let folder = var("XDG_CACHE_HOME").or_else(|| {
        if cfg!(windows) {
            var("LOCALAPPDATA")
        } else {
            let home = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
            var("HOME").map(|p| p.join(home))
        }
    });
    let folder = folder.ok_or("there is no cache folder of the user: name a file with `--file`")?;
    Ok(folder.join("tachylite").join(file_name(profile)))
}

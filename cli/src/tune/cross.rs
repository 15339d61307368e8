//! What won on other adapters, measured on this one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tachylite::Gpu;
use tachylite::bench::{Comparison, compare};
use tachylite::check::{Case, Subject};
use tachylite::gpu::Effort;
use tachylite::op::Op;
use tachylite::plan::Policy;
use tachylite::tune::{Task, Tuning, Winner};

use super::shape;
use crate::say;

/// Prints a row for each shape that `own` and another file have a winner of: the time of the estimate's
/// choice, and of the others' winners, as a fraction of the time of our own.
pub(super) fn run(
    gpu: &Gpu,
    own: &Path,
    others: &[PathBuf],
    ops: &[&'static Op],
    budget: Duration,
) -> Result<ExitCode, String> {
    let own = Tuning::read(own, gpu.profile()).map_err(|e| e.to_string())?;
    let others = others.iter().map(|path| Tuning::read_any(path)).collect::<Result<Vec<_>, _>>();
    let others = others.map_err(|e| e.to_string())?;
    for (i, other) in others.iter().enumerate() {
        say(&format!("winner {}  of {}\n", i + 1, other.device()));
    }
    say(&format!("{:<52} {:<24} {:<32}", "shape", "own winner", "estimate"));
    (1..=others.len()).for_each(|i| say(&format!(" {:<32}", format!("winner {i}"))));
    say("\n");
    let mut rows = Vec::new();
    for (key, winner) in own.winners() {
        let task = task(gpu, winner)?.filter(|t| t.key == *key && (ops.is_empty() || ops.contains(&t.op)));
        rows.extend(task.map(|task| (key, winner, task)));
    }
    let (mut slower, mut worst, mut known) = (0, 1f64, 0);
    for (key, winner, task) in &rows {
        let foreign: Vec<_> = others.iter().map(|o| o.winner(key).map(|w| w.kernel.clone())).collect();
        let estimate = task.kernels.first().map(|k| k.name.to_owned());
        let rivals: Vec<Option<String>> = [estimate].into_iter().chain(foreign).collect();
        let cells = measured(gpu, task, &winner.kernel, &rivals, budget / rows.len() as u32)?;
        say(&format!("{:<52} {:<24}", shape(&winner.case), winner.kernel));
        known += cells[1..].iter().filter(|c| !matches!(c, Cell::Unknown)).count();
        for (i, (rival, cell)) in rivals.iter().zip(&cells).enumerate() {
            let name = rival.as_deref().unwrap_or("-");
            let text = match cell {
                Cell::Same => format!("{name} (own)"),
                Cell::Unknown => "-".to_owned(),
                Cell::Not(why) => format!("{name}: {why}"),
                Cell::Compared(c) => {
                    slower += usize::from(i == 0 && c.high < 1.0 / 1.03);
                    worst = if i > 0 { worst.max(c.ratio) } else { worst };
                    format!("{name} {:.2} {}", c.ratio, c.verdict.name())
                }
            };
            say(&format!(" {text:<32}"));
        }
        say("\n");
    }
    if known == 0 {
        return Err("tune: no other file has a winner for a shape that this one knows".into());
    }
    say(&format!(
        "the largest loss with a foreign winner: {worst:.2}; shapes where the estimate's choice is faster than \
         the winner: {slower}\n"
    ));
    Ok(if slower == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

enum Cell {
    /// It is our own winner.
    Same,
    /// That file does not know this shape.
    Unknown,
    /// It does not run here.
    Not(String),
    Compared(Comparison),
}

fn measured(
    gpu: &Gpu,
    task: &Task,
    own: &str,
    rivals: &[Option<String>],
    budget: Duration,
) -> Result<Vec<Cell>, String> {
    let mut names = vec![own];
    for rival in rivals.iter().flatten() {
        if !names.contains(&rival.as_str()) {
            names.push(rival);
        }
    }
    if names.len() == 1 {
        let cell = |rival: &Option<String>| if rival.is_some() { Cell::Same } else { Cell::Unknown };
        return Ok(rivals.iter().map(cell).collect());
    }
    let budget = budget.min(Effort::default().budget * 2);
    let times = gpu.time_kernels(task, &names, &Effort { budget, ..Effort::default() });
    let times = times.map_err(|e| e.to_string())?;
    let cell = |rival: &Option<String>| {
        let at = rival.as_ref().and_then(|r| names.iter().position(|n| n == r));
        match (at, &times[0]) {
            (None, _) => Cell::Unknown,
            (Some(0), _) => Cell::Same,
            (Some(_), Err(why)) => Cell::Not(format!("{own} does not run: {why}")),
            (Some(at), Ok(first)) => match &times[at] {
                Ok(second) => Cell::Compared(compare(first, second, 0.03)),
                Err(why) => Cell::Not(why.clone()),
            },
        }
    };
    Ok(rivals.iter().map(cell).collect())
}

/// What was measured for a winner, once more.
fn task(gpu: &Gpu, winner: &Winner) -> Result<Option<Task>, String> {
    let Some(Case { subject: Subject::Kernel { op, shape, .. }, .. }) = Case::named(&winner.case) else {
        return Ok(None);
    };
    Task::new(op, shape, gpu.profile(), &Policy::default()).map_err(|e| e.to_string())
}

//! What people read at the end: a table, and the survivors; and the same for programs.

use serde_json::{Value, json};

use super::equivalent::Equivalent;
use super::operators::Mutant;
use super::state::{Fate, Record};

/// The version of the JSON: the number changes when a reader would have to.
const SCHEMA: &str = "tachylite-mutate/1";
/// The share of mutants that must be killed, of those that can be.
pub(super) const ENOUGH: f64 = 0.95;

/// A mutant with what became of it, and its place on the list of equivalents.
pub(super) struct Judged<'a> {
    pub mutant: &'a Mutant,
    pub record: Record,
    pub listed: Option<&'a Equivalent>,
}

impl Judged<'_> {
    fn is_equivalent(&self) -> bool {
        self.listed.is_some() && matches!(self.record.fate, Fate::Survived | Fate::NotReached)
    }

    fn lives(&self) -> bool {
        self.listed.is_none() && matches!(self.record.fate, Fate::Survived | Fate::NotReached)
    }

    /// Killed, although the list says that nothing can.
    pub fn is_misjudged(&self) -> bool {
        self.listed.is_some() && self.record.fate == Fate::Killed
    }

    fn to_json(&self) -> Value {
        let mut out = self.record.to_json();
        let more = json!({
            "file": self.mutant.file, "line": self.mutant.line, "column": self.mutant.column,
            "operator": self.mutant.operator, "before": self.mutant.before, "after": self.mutant.after,
            "equivalent": self.listed.map(|e| &e.reason),
        });
        if let (Some(out), Value::Object(more)) = (out.as_object_mut(), more) {
            out.extend(more);
        }
        out
    }
}

/// How many of each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub killed: usize,
    pub survived: usize,
    pub equivalent: usize,
}

impl Count {
    pub fn of<'a>(all: impl IntoIterator<Item = &'a Judged<'a>>) -> Self {
        let mut count = Self::default();
        for one in all {
            count.killed += usize::from(one.record.fate == Fate::Killed);
            count.survived += usize::from(one.lives());
            count.equivalent += usize::from(one.is_equivalent());
        }
        count
    }

    /// The share of those that can be killed which are; 1 if none can.
    pub fn score(self) -> f64 {
        let can = self.killed + self.survived;
        if can == 0 { 1.0 } else { self.killed as f64 / can as f64 }
    }

    fn line(self, name: &str) -> String {
        let Self { killed, survived, equivalent } = self;
        format!("{name:<28}{killed:>8}{survived:>10}{equivalent:>12}{:>8.1} %\n", self.score() * 100.0)
    }
}

/// Everything, as text.
pub(super) fn to_text(all: &[Judged<'_>]) -> String {
    let mut out = String::new();
    for one in all.iter().filter(|o| o.lives() || o.is_misjudged()) {
        let verb =
            if one.is_misjudged() { "killed, and listed as equivalent" } else { one.record.fate.name() };
        out += &format!("\n{verb}: {}", one.mutant);
        if let Some([device, case, words]) = &one.record.killer {
            out += &format!("  by {case} on {device}: {words}\n");
        }
    }
    out +=
        &format!("\n{:<28}{:>8}{:>10}{:>12}{:>10}\n", "shader", "killed", "survived", "equivalent", "score");
    let rule = format!("{}\n", "-".repeat(68));
    out += &rule;
    let mut files: Vec<_> = all.iter().map(|o| o.mutant.file).collect();
    files.dedup();
    for file in files {
        out += &Count::of(all.iter().filter(|o| o.mutant.file == file)).line(file);
    }
    out + &rule + &Count::of(all).line("all")
}

/// Everything, for programs.
pub(super) fn to_json(all: &[Judged<'_>], devices: &[String], seed: u64) -> Value {
    let Count { killed, survived, equivalent } = Count::of(all);
    json!({
        "schema": SCHEMA,
        "tool": { "name": "tachylite", "version": env!("CARGO_PKG_VERSION") },
        "devices": devices,
        "seed": seed.to_string(),
        "summary": {
            "killed": killed, "survived": survived, "equivalent": equivalent, "score": Count::of(all).score(),
        },
        "mutants": all.iter().map(Judged::to_json).collect::<Vec<_>>(),
    })
}

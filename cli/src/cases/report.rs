//! What became of the cases: rows, for people and as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::{Named, list, shown};
use crate::check::child::Ended;
use crate::check::record::{Status, number};
use crate::check::{option, quoted, text};
use crate::say;

/// The version of the JSON: the number changes when a reader would have to.
const SCHEMA: &str = "tachylite-cases/1";
/// Failures told in full; the rest are counted, and stand in the JSON.
const TOLD: usize = 20;

/// One case on one adapter.
#[derive(Debug)]
pub(super) struct Row {
    pub suite: &'static str,
    /// `<suite>/<name>`.
    pub name: String,
    pub op: String,
    pub status: Status,
    /// Why it is not covered, known or not.
    pub unsupported: Option<String>,
    /// Why it did not pass.
    pub reason: Option<String>,
    /// The largest distance from an expected value, as the child wrote it.
    pub error: Value,
    /// As the child wrote them.
    pub failures: Vec<Value>,
}

/// Everything about one adapter.
#[derive(Debug)]
pub(super) struct Record {
    /// The name it was asked for by.
    pub asked: String,
    /// What it is.
    pub device: Value,
    pub rows: Vec<Row>,
}

impl Row {
    /// The row of a case that ended. What is unsupported and not known to be is a failure.
    pub fn new(case: &Named, ended: &Ended) -> Self {
        let mut row = Self {
            suite: case.suite,
            name: case.name.clone(),
            op: case.op.clone(),
            status: ended.status(),
            unsupported: None,
            reason: None,
            error: Value::Null,
            failures: Vec::new(),
        };
        match ended {
            Ended::Lost(_, why) => row.reason = Some(why.clone()),
            Ended::Said(end) => {
                row.error = shown(end.get("error"));
                row.failures = end.get("failures").and_then(Value::as_array).cloned().unwrap_or_default();
                let said = || end.get("reason").and_then(Value::as_str).map(str::to_owned);
                row.reason = row.failures.first().map(sentence).or_else(said);
            }
        }
        if let (Status::Unsupported, Ended::Said(end)) = (row.status, ended) {
            let why = text(end, "reason").to_owned();
            row.reason = Some(why.clone());
            if !list::knows(row.suite, &row.op, &why) {
                row.status = Status::Fail;
                row.reason = Some(format!("unsupported, and not on the list of what is: {why}"));
            }
            row.unsupported = Some(why);
        }
        row
    }

    /// What a quirk of the device expects to fail is no news, unless it passes.
    pub fn expecting(&mut self, quirk: Option<&str>) {
        let Some(why) = quirk else { return };
        match self.status {
            Status::Pass => {
                self.status = Status::UnexpectedPass;
                self.reason = Some(format!("it passes, but a quirk says that it fails: {why}"));
            }
            Status::Unsupported => {}
            _ => {
                let how = self.reason.take().unwrap_or_default();
                self.reason = Some(format!("{why} ({}: {how})", self.status.name()));
                self.status = Status::ExpectedFailure;
            }
        }
    }

    fn to_json(&self, adapter: &str) -> Value {
        let own = self.name.strip_prefix(self.suite).and_then(|n| n.strip_prefix('/'));
        json!({
            "suite": self.suite,
            "name": own.unwrap_or(&self.name),
            "op": self.op,
            "adapter": adapter,
            "status": self.status.name(),
            "reason": self.reason,
            "error": self.error,
            "failures": self.failures,
        })
    }
}

/// A failure in a sentence without its end.
fn sentence(failure: &Value) -> String {
    let mut out = text(failure, "what").to_owned();
    if let Some(first) = failure.get("first_bad").filter(|f| !f.is_null()) {
        let [got, expected, allowed] = ["got", "expected", "allowed"].map(|f| number(first.get(f)));
        let index = first.get("index").and_then(Value::as_u64).unwrap_or_default();
        out += &format!(": element {index} is {got:?}, but {expected:?} ± {allowed:.3e} is expected");
    }
    let pattern = text(failure, "pattern");
    if pattern.is_empty() { out } else { format!("{out}; bad: {pattern}") }
}

impl Record {
    /// The adapter's full name.
    pub fn name(&self) -> String {
        format!("{}:{}", text(&self.device, "backend"), text(&self.device, "name"))
    }

    pub fn passed(&self) -> bool {
        self.rows.iter().all(|r| !r.status.is_wrong())
    }
}

/// How many rows pass, fail, are unsupported, and fail as they are expected to.
fn summary<'a>(rows: impl IntoIterator<Item = &'a Row>) -> [usize; 4] {
    let mut counts = [0; 4];
    for row in rows {
        counts[match row.status {
            Status::Pass => 0,
            Status::Unsupported => 2,
            Status::ExpectedFailure => 3,
            _ => 1,
        }] += 1;
    }
    counts
}

/// Tells what is wrong, and what is not covered for which reason.
pub(super) fn failures(record: &Record, dir: &Path) {
    let name = record.name();
    let wrong: Vec<_> = record.rows.iter().filter(|r| r.status.is_wrong()).collect();
    for row in wrong.iter().take(TOLD) {
        let verb = match row.status {
            Status::Crash => "CRASHED",
            Status::Hang => "HUNG",
            Status::UnexpectedPass => "UNEXPECTED PASS",
            _ => "FAILED",
        };
        let mut told = format!("\n{verb}  {} on {name}\n  op {}\n", row.name, row.op);
        if row.failures.is_empty() {
            told += &format!("  {}\n", row.reason.as_deref().unwrap_or_default());
        }
        row.failures.iter().for_each(|f| told += &format!("  {}\n", sentence(f)));
        let (dir, case) = (quoted(&dir.display().to_string()), quoted(&row.name));
        let on = option(&name);
        say(&format!("{told}  again: tachylite check --cases {dir} --case {case} {on}\n"));
    }
    if wrong.len() > TOLD {
        say(&format!("\n… and {} more, which --json FILE would list\n", wrong.len() - TOLD));
    }
    let mut reasons: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for row in record.rows.iter().filter(|r| r.status == Status::Unsupported) {
        let why = row.reason.as_deref().unwrap_or_default();
        reasons.entry((row.suite, why)).or_default().push(&row.op);
    }
    say("\n");
    for row in record.rows.iter().filter(|r| r.status == Status::ExpectedFailure) {
        say(&format!("expected failure, {}: {}\n", row.name, row.reason.as_deref().unwrap_or_default()));
    }
    for ((suite, reason), mut ops) in reasons {
        let count = ops.len();
        ops.sort_unstable();
        ops.dedup();
        say(&format!("unsupported, {suite}, {count} times: {reason} ({})\n", ops.join(", ")));
    }
}

/// Adapters that stand side by side in a table; more are a line for each of their suites.
const ABREAST: usize = 4;

/// Prints suite × adapter.
pub(super) fn table(records: &[Record], stale: &[String]) {
    if records.len() > ABREAST {
        many(records)
    } else {
        abreast(records)
    }
    for entry in stale {
        say(&format!("on the list of what is unsupported, but nothing needs it any more: {entry}\n"));
    }
}

fn cells(c: [String; 4]) -> String {
    format!(" |{:>11}{:>8}{:>8}{:>10}", c[0], c[1], c[2], c[3])
}

fn many(records: &[Record]) {
    let width = records.iter().map(|r| r.name().chars().count()).max().unwrap_or(0).max(7);
    let head = cells(["passed", "failed", "unsupp.", "expected"].map(str::to_owned));
    let mut out = format!("\n{:<width$} {:<11}{head}\n", "adapter", "suite");
    for record in records {
        let mut suites: Vec<&str> = record.rows.iter().map(|row| row.suite).collect();
        suites.sort_unstable();
        suites.dedup();
        for suite in suites {
            let counts = summary(record.rows.iter().filter(|row| row.suite == suite));
            let counts = cells(counts.map(|n| n.to_string()));
            out += &format!("{:<width$} {suite:<11}{counts}\n", record.name());
        }
    }
    say(&out);
}

fn abreast(records: &[Record]) {
    let mut suites: Vec<&str> = Vec::new();
    for row in records.iter().flat_map(|r| &r.rows) {
        if !suites.contains(&row.suite) {
            suites.push(row.suite);
        }
    }
    let letter = |i: usize| if records.len() == 1 { String::new() } else { format!("[{}] ", i + 1) };
    let line = |name: &str, is_in: &dyn Fn(&Row) -> bool| {
        let group = |r: &Record| cells(summary(r.rows.iter().filter(|r| is_in(r))).map(|n| n.to_string()));
        format!("{name:<14}{}", records.iter().map(group).collect::<String>())
    };
    let head =
        |i| cells([format!("{}passed", letter(i)), "failed".into(), "unsupp.".into(), "expected".into()]);
    let mut lines = vec![format!("{:<14}{}", "suite", (0..records.len()).map(head).collect::<String>())];
    let rule = "-".repeat(lines[0].chars().count());
    lines.push(rule.clone());
    lines.extend(suites.iter().map(|s| line(s, &|row| row.suite == *s)));
    lines.push(rule);
    lines.push(line("all", &|_| true));
    let mut out = String::from("\n");
    for (i, record) in records.iter().enumerate() {
        let driver = text(&record.device, "driver");
        out += &format!("{}{} (driver: {driver})\n", letter(i), record.name());
    }
    say(&(out + &lines.join("\n") + "\n"));
}

/// Everything, for programs.
pub(super) fn to_json(records: &[Record], stale: &[String]) -> Value {
    let total = |counts: [usize; 4]| {
        let [pass, fail, unsupported, expected] = counts;
        json!({
            "pass": pass,
            "fail": fail,
            "unsupported": unsupported,
            "expected_failure": expected,
        })
    };
    let device = |r: &Record| {
        let mut device = r.device.clone();
        if let Some(fields) = device.as_object_mut() {
            fields.insert("asked".into(), json!(r.asked));
            fields.insert("summary".into(), total(summary(&r.rows)));
        }
        device
    };
    let rows = records.iter().flat_map(|r| {
        let name = r.name();
        r.rows.iter().map(move |row| row.to_json(&name))
    });
    json!({
        "schema": SCHEMA,
        "tool": { "name": "tachylite", "version": env!("CARGO_PKG_VERSION") },
        "host": { "os": std::env::consts::OS, "arch": std::env::consts::ARCH },
        "summary": total(summary(records.iter().flat_map(|r| &r.rows))),
        "devices": records.iter().map(device).collect::<Vec<_>>(),
        "rows": rows.collect::<Vec<_>>(),
        "stale": stale,
    })
}

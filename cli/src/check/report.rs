//! What people read: failures one by one, then a table.

use std::collections::BTreeMap;

use serde_json::Value;

use super::record::{Record, Row, Status, number, summary};
use super::{reproduce, text};
use crate::say;

/// Failures told in full; the rest are counted, and stand in the JSON.
const TOLD: usize = 20;

/// Tells what is wrong, and what cannot run for which reason.
pub(super) fn failures(record: &Record) {
    let name = record.name();
    let wrong: Vec<_> = record.rows.iter().filter(|r| r.status.is_wrong()).collect();
    wrong.iter().take(TOLD).for_each(|row| say(&failure(&name, row)));
    if wrong.len() > TOLD {
        say(&format!("\n… and {} more, which --json FILE would list\n", wrong.len() - TOLD));
    }
    for status in [Status::Unsupported, Status::ExpectedFailure] {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for row in record.rows.iter().filter(|r| r.status == status) {
            *reasons.entry(row.reason.as_deref().unwrap_or_default()).or_default() += 1;
        }
        for (reason, count) in reasons {
            say(&format!("{} on {name}, {count} times: {reason}\n", status.name()));
        }
    }
}

fn failure(adapter: &str, row: &Row) -> String {
    let verb = match row.status {
        Status::Crash => "CRASHED",
        Status::Hang => "HUNG",
        Status::UnexpectedPass => "UNEXPECTED PASS",
        _ => "FAILED",
    };
    let mut text = format!(
        "\n{verb}  {} on {adapter}\n  op {}, kernel {}, seed {}\n",
        row.case, row.op, row.kernel, row.seed
    );
    if let Some(reason) = &row.reason {
        text += &format!("  {reason}\n");
    }
    for failure in &row.failures {
        text += &what(failure);
    }
    text + &format!("  again: {}\n", reproduce(adapter, &row.case, row.seed))
}

/// What is wrong, as text.
pub(crate) fn what(failure: &Value) -> String {
    let mut out = format!("  {}", text(failure, "what"));
    if let Some(first) = failure.get("first_bad").filter(|f| !f.is_null()) {
        let [got, want, allowed] = ["got", "want", "allowed"].map(|f| number(first.get(f)));
        let index = first.get("index").and_then(Value::as_u64).unwrap_or_default();
        out += &format!(
            ": element {index} is {got:?}, but must be {want:?} ± {allowed:.3e}; \
             the worst is {} of its allowance",
            fraction(number(failure.get("worst")))
        );
    }
    let pattern = text(failure, "pattern");
    if !pattern.is_empty() {
        out += &format!("\n  bad: {pattern}");
    }
    out + "\n"
}

fn fraction(worst: f64) -> String {
    if worst.is_infinite() {
        "inf".to_owned()
    } else if worst < 1000.0 {
        format!("{worst:.2}")
    } else {
        format!("{worst:.1e}")
    }
}

const COLUMNS: [&str; 5] = ["passed", "failed", "unsupp.", "worst", "s"];

/// So many adapters stand side by side; more are a line each.
const ABREAST: usize = 4;

/// Prints op × adapter, or, of many adapters, a line for each.
pub(super) fn table(records: &[Record]) {
    if records.len() > ABREAST {
        return many(records);
    }
    let mut ops: Vec<&str> = Vec::new();
    for row in records.iter().flat_map(|r| &r.rows) {
        if !ops.contains(&row.op) {
            ops.push(row.op);
        }
    }
    let mut lines = vec![header(records.len())];
    for op in ops {
        lines.push(line(op, records, |row| row.op == op));
    }
    lines.push(line("all", records, |_| true));
    let width = lines[0].chars().count();
    lines.insert(1, "-".repeat(width));
    lines.insert(lines.len() - 1, "-".repeat(width));
    let mut text = String::from("\n");
    for (i, record) in records.iter().enumerate() {
        let name = letter(records.len(), i);
        text += &format!("{name}{} (driver: {})\n", record.name(), super::text(&record.device, "driver"));
    }
    text += &lines.join("\n");
    say(&(text + "\n" + LEGEND));
}

fn many(records: &[Record]) {
    let width = records.iter().map(|r| r.name().chars().count()).max().unwrap_or(0).max(7);
    let mut text = format!("\n{:<width$}{}\n", "adapter", cells(&COLUMNS.map(str::to_owned)));
    for record in records {
        let row = line("", std::slice::from_ref(record), |_| true);
        text += &format!("{:<width$} {}\n", record.name(), row.trim_start());
    }
    say(&(text + LEGEND));
}

const LEGEND: &str = "\nworst: the largest error, as a fraction of what the reference allows there\n";

/// What an adapter is called in the table's head: nothing, if it is alone.
fn letter(adapters: usize, i: usize) -> String {
    if adapters == 1 { String::new() } else { format!("[{}] ", i + 1) }
}

fn header(adapters: usize) -> String {
    let group = |i| {
        let mut names = COLUMNS.map(str::to_owned);
        names[0] = format!("{}{}", letter(adapters, i), names[0]);
        cells(&names)
    };
    format!("{:<14}{}", "op", (0..adapters).map(group).collect::<String>())
}

fn line(op: &str, records: &[Record], is_in: impl Fn(&Row) -> bool) -> String {
    let group = |record: &Record| {
        let rows: Vec<_> = record.rows.iter().filter(|r| is_in(r)).collect();
        let s = summary(rows.iter().copied());
        let worst = rows.iter().fold(0f64, |w, r| w.max(r.worst));
        let seconds: f64 = rows.iter().map(|r| r.seconds).sum();
        let [pass, fail, unsupported] = [s.pass, s.fail, s.unsupported].map(|n| n.to_string());
        cells(&[pass, fail, unsupported, fraction(worst), format!("{seconds:.1}")])
    };
    format!("{op:<14}{}", records.iter().map(group).collect::<String>())
}

fn cells(cells: &[String; 5]) -> String {
    format!(" |{:>11}{:>8}{:>8}{:>8}{:>8}", cells[0], cells[1], cells[2], cells[3], cells[4])
}

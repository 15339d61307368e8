//! What was found, as text and as JSON.

use serde_json::{Value, json};
use tachylite::virtual_gpu::lint::Setup;
use tachylite::virtual_gpu::{Finding, Place};

/// The version of the JSON: the number changes when a reader would have to.
const SCHEMA: &str = "tachylite-lint/1";

/// A line for each finding, then a summary.
pub(super) fn to_text(setup: &Setup, findings: &[Finding]) -> String {
    let mut text = String::new();
    for f in findings {
        let what = if f.kind.is_warning() { "warning" } else { "finding" };
        text += &format!("{}:{}: {what}[{}]: {f}\n", f.file, f.place, f.kind);
    }
    let (wrong, warnings) = counts(findings);
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let on = count(setup.personalities.len(), "virtual GPU");
    let file = &setup.file;
    text + &format!("{file}: {}, {} on {on}\n", count(wrong, "finding"), count(warnings, "warning"))
}

/// How many are wrong, and how many only odd.
fn counts(findings: &[Finding]) -> (usize, usize) {
    let warnings = findings.iter().filter(|f| f.kind.is_warning()).count();
    (findings.len() - warnings, warnings)
}

pub(super) fn to_json(setup: &Setup, findings: &[Finding]) -> Value {
    let (wrong, warnings) = counts(findings);
    json!({
        "schema": SCHEMA,
        "file": setup.file,
        "dispatch": setup.dispatch,
        "seed": setup.seed,
        "personalities": setup.personalities.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        "findings": wrong,
        "warnings": warnings,
        "found": findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn finding(f: &Finding) -> Value {
    json!({
        "kind": f.kind.name(),
        "warning": f.kind.is_warning(),
        "file": f.file,
        "line": f.place.line,
        "column": f.place.column,
        "entry": f.kernel,
        "workgroup": f.workgroup,
        "lane": f.lane,
        "buffer": f.buffer,
        "index": f.index,
        "count": f.count,
        "other": f.other.as_ref().map(|o| json!({
            "write": o.write,
            "file": o.file,
            "line": o.place.line,
            "column": o.place.column,
            "workgroup": o.workgroup,
            "lane": o.lane,
        })),
        "used": f.used.as_ref().map(|(file, Place { line, column })| json!({
            "file": file, "line": line, "column": column,
        })),
        "personality": f.personality,
        "message": f.to_string(),
    })
}

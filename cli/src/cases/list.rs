//! The list of what is unsupported, and why: anything else that does not run is a failure.

use std::sync::LazyLock;

use serde_json::Value;

use super::report::Record;
use super::suite::Suite;

/// What we do not cover.
#[derive(Debug)]
struct Entry {
    suite: String,
    /// Ops; none means any.
    ops: Vec<String>,
    /// A part of the reason: an attribute, a type, a missing op.
    reason: String,
}

static LIST: LazyLock<Vec<Entry>> = LazyLock::new(|| parse(include_str!("unsupported.json")));

/// The entries of a list; what has no reason or no suite matches nothing and is dropped, which the test
/// of the list forbids.
fn parse(text: &str) -> Vec<Entry> {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let entry = |value: &Value| {
        let text = |field: &str| value.get(field)?.as_str().map(str::to_owned);
        let ops = value.get("ops").and_then(Value::as_array);
        let ops = ops.into_iter().flatten().filter_map(|op| op.as_str().map(str::to_owned));
        Some(Entry { suite: text("suite")?, ops: ops.collect(), reason: text("reason")? })
    };
    json.as_array().into_iter().flatten().filter_map(entry).collect()
}

impl Entry {
    fn covers(&self, suite: &str, op: &str, reason: &str) -> bool {
        let any = |of: &str, own: &str| own == "*" || own == of;
        any(suite, &self.suite)
            && (self.ops.is_empty() || self.ops.iter().any(|own| own == op))
            && reason.contains(&self.reason)
    }
}

/// Whether something that is unsupported is known to be.
pub(super) fn knows(suite: &str, op: &str, reason: &str) -> bool {
    LIST.iter().any(|entry| entry.covers(suite, op, reason))
}

/// The entries for these suites that nothing needs any more. An op that no case has says nothing.
pub(super) fn stale(suites: &[Suite], records: &[Record]) -> Vec<String> {
    let mut out = Vec::new();
    for entry in LIST.iter() {
        let there = |suite: &&Suite| entry.suite == "*" || entry.suite == suite.format;
        let used = |suite: &str, op: &str| {
            let rows = records.iter().flat_map(|r| &r.rows);
            rows.filter(|r| r.suite == suite && r.op == op)
                .any(|r| r.unsupported.as_deref().is_some_and(|why| entry.covers(suite, op, why)))
        };
        let cases: Vec<_> = suites
            .iter()
            .filter(there)
            .flat_map(|s| s.cases.iter().map(|c| (s.format, c.op.as_str())))
            .filter(|(_, op)| entry.ops.is_empty() || entry.ops.iter().any(|own| own == op))
            .collect();
        // Of a kind of tensor that any op may have, a suite need not have one.
        let of_ops = !entry.ops.is_empty();
        if of_ops
            && !records.is_empty()
            && !cases.is_empty()
            && !cases.iter().any(|(suite, op)| used(suite, op))
        {
            out.push(format!("{} {}: {}", entry.suite, entry.ops.join(" "), entry.reason));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_a_suite_a_reason_and_says_why() {
        let json: Value = serde_json::from_str(include_str!("unsupported.json")).unwrap();
        let list = json.as_array().unwrap();
        assert_eq!(LIST.len(), list.len());
        for entry in list {
            for field in ["suite", "reason", "why"] {
                assert!(entry[field].as_str().is_some_and(|t| !t.is_empty()), "{entry}");
            }
        }
    }

    #[test]
    fn an_entry_covers_its_suite_its_ops_and_its_reason_only() {
        let list = parse(r#"[{"suite": "onnx", "ops": ["Add"], "reason": "integer", "why": "x"}]"#);
        assert!(list[0].covers("onnx", "Add", "integer arithmetic"));
        assert!(!list[0].covers("onnx", "Add", "type f8"));
        assert!(!list[0].covers("onnx", "Sub", "integer arithmetic"));
        assert!(!list[0].covers("misc", "Add", "integer arithmetic"));
    }
}

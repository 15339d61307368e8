//! What was found out, as rows, and as JSON.

use serde_json::{Value, json};
use tachylite::check::Case;

use super::child::Ended;
use super::{reproduce, text};

/// The version of the JSON: the number changes when a reader would have to.
const SCHEMA: &str = "tachylite-check/1";

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Pass,
    Fail,
    Unsupported,
    /// It failed, as a quirk of the device says.
    ExpectedFailure,
    /// It passed, and a quirk of the device says that it fails.
    UnexpectedPass,
    /// The process died of it.
    Crash,
    /// It did not come to an end.
    Hang,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unsupported => "unsupported",
            Self::ExpectedFailure => "expected failure",
            Self::UnexpectedPass => "unexpected pass",
            Self::Crash => "crash",
            Self::Hang => "hang",
        }
    }

    pub fn is_wrong(self) -> bool {
        matches!(self, Self::Fail | Self::UnexpectedPass | Self::Crash | Self::Hang)
    }
}

/// One case on one adapter.
#[derive(Debug)]
pub(super) struct Row {
    pub case: String,
    pub op: &'static str,
    pub kernel: &'static str,
    pub dtype: String,
    pub status: Status,
    /// Why it is unsupported, or how it was lost.
    pub reason: Option<String>,
    pub seed: u64,
    pub elements: u64,
    pub worst: f64,
    pub seconds: f64,
    /// As the child wrote them.
    pub failures: Vec<Value>,
}

impl Row {
    /// The row of a case that ended.
    pub fn new(case: &Case, seed: u64, ended: &Ended) -> Self {
        let (op, kernel, dtype) = (case.op(), case.kernel(), case.dtype());
        let lost = Self {
            case: case.to_string(),
            op,
            kernel,
            dtype,
            status: ended.status(),
            reason: None,
            seed,
            elements: 0,
            worst: 0.0,
            seconds: 0.0,
            failures: Vec::new(),
        };
        match ended {
            Ended::Lost(_, reason) => Self { reason: Some(reason.clone()), ..lost },
            Ended::Said(end) => Self {
                reason: end.get("reason").and_then(Value::as_str).map(str::to_owned),
                elements: end.get("elements").and_then(Value::as_u64).unwrap_or_default(),
                worst: number(end.get("worst")),
                seconds: number(end.get("seconds")),
                failures: end.get("failures").and_then(Value::as_array).cloned().unwrap_or_default(),
                ..lost
            },
        }
    }

    fn to_json(&self, device: usize, adapter: &str) -> Value {
        json!({
            "device": device,
            "case": self.case,
            "op": self.op,
            "kernel": self.kernel,
            "dtype": self.dtype,
            "status": self.status.name(),
            "reason": self.reason,
            // As text: readers that know only f64 would round it.
            "seed": self.seed.to_string(),
            "elements": self.elements,
            "worst": if self.worst.is_finite() { json!(self.worst) } else { json!(self.worst.to_string()) },
            "seconds": self.seconds,
            "failures": self.failures,
            "reproduce": reproduce(adapter, &self.case, self.seed),
        })
    }
}

/// A number, or one that JSON has no way to write and that is therefore text.
pub(crate) fn number(value: Option<&Value>) -> f64 {
    match value {
        Some(Value::String(s)) => s.parse().unwrap_or(f64::NAN),
        Some(v) => v.as_f64().unwrap_or(f64::NAN),
        None => f64::NAN,
    }
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

/// How many of each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    pub pass: usize,
    pub fail: usize,
    pub unsupported: usize,
    pub expected: usize,
}

impl Record {
    /// The adapter's full name.
    pub fn name(&self) -> String {
        format!("{}:{}", text(&self.device, "backend"), text(&self.device, "name"))
    }

    /// Whether the device supports nothing of what was asked for.
    pub fn ran_none(&self) -> bool {
        summary(&self.rows).unsupported == self.rows.len()
    }

    pub fn passed(&self) -> bool {
        summary(&self.rows).fail == 0
    }

    /// Crashes and hangs that a quirk of the device expects are no news. The child could not say so.
    pub fn excuse(&mut self) {
        let profile = crate::device::from_json(&self.device);
        for row in self.rows.iter_mut().filter(|r| matches!(r.status, Status::Crash | Status::Hang)) {
            if let Some(why) = profile.expects_failure(&row.case) {
                let how = row.reason.take().unwrap_or_default();
                row.reason = Some(format!("{why} ({}: {how})", row.status.name()));
                row.status = Status::ExpectedFailure;
            }
        }
    }
}

/// How many rows are right, wrong and unsupported.
pub(super) fn summary<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Summary {
    let mut s = Summary::default();
    for row in rows {
        match row.status {
            Status::Pass => s.pass += 1,
            Status::Unsupported => s.unsupported += 1,
            Status::ExpectedFailure => s.expected += 1,
            Status::Fail | Status::UnexpectedPass | Status::Crash | Status::Hang => s.fail += 1,
        }
    }
    s
}

/// Everything, for programs.
pub(super) fn to_json(records: &[Record]) -> Value {
    let total = |s: Summary| {
        json!({
            "pass": s.pass,
            "fail": s.fail,
            "unsupported": s.unsupported,
            "expected_failure": s.expected,
        })
    };
    let devices: Vec<_> = records
        .iter()
        .map(|r| {
            let mut device = r.device.clone();
            if let Some(fields) = device.as_object_mut() {
                fields.insert("asked".into(), json!(r.asked));
                fields.insert("summary".into(), total(summary(&r.rows)));
            }
            device
        })
        .collect();
    let rows = records.iter().enumerate().flat_map(|(i, r)| {
        let name = r.name();
        r.rows.iter().map(move |row| row.to_json(i, &name))
    });
    json!({
        "schema": SCHEMA,
        "tool": { "name": "tachylite", "version": env!("CARGO_PKG_VERSION") },
        "host": { "os": std::env::consts::OS, "arch": std::env::consts::ARCH },
        "summary": total(summary(records.iter().flat_map(|r| &r.rows))),
        "devices": devices,
        "cases": rows.collect::<Vec<_>>(),
    })
}

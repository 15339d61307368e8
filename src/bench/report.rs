//! A run of a bench as a file: a JSON file with one row a line.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bench::{MOST_REPEATS, Outcome, Row};
use crate::error::{Error, Result};
use crate::export::whole;
use crate::profile::Profile;
use crate::tune::Device;

/// What the file calls itself.
const FORMAT: &str = "tachylite-bench";
/// The version of the format: the number changes when a reader would have to.
const VERSION: u64 = 3;
/// The version before, which did not note sittings; it can be read.
const BEFORE: u64 = 2;

/// What a probe reached before the rows were measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// The probe's name.
    pub name: String,
    /// What it counts: `flops`, `bytes`, `items`, or `seconds` if it is a time.
    pub unit: crate::probe::Unit,
    /// So much of it in a second, or seconds; `None` if it was not measured.
    pub value: Option<f64>,
    /// Why it was not measured.
    pub why_not: Option<String>,
}

/// A run of a bench.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The device, and the version of this library.
    pub device: Device,
    /// Its probes.
    pub probes: Vec<Reached>,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// What is read before it is known what the rest looks like.
#[derive(Deserialize)]
struct Head {
    format: Option<String>,
    version: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "format")]
    _format: serde::de::IgnoredAny,
    #[serde(rename = "version")]
    _version: serde::de::IgnoredAny,
    device: Device,
    probes: Vec<Reached>,
    rows: Vec<Row>,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(profile: &Profile) -> Self {
        Self { device: Device::of(profile), probes: Vec::new(), rows: Vec::new() }
    }

    /// The text of a file.
    pub fn to_json(&self) -> String {
        // Numbers and text: nothing in a report can fail to be written.
        let lines = |all: Vec<String>| format!("[\n    {}\n  ]", all.join(",\n    "));
        format!(
            "{{\n  \"format\": \"{FORMAT}\",\n  \"version\": {VERSION},\n  \"device\": {},\n  \"probes\": {},\n  \
             \"rows\": {}\n}}\n",
            text(&self.device),
            lines(self.probes.iter().map(text).collect()),
            lines(self.rows.iter().map(text).collect()),
        )
    }

    /// A report from the text of a file.
    ///
    /// # Errors
    /// [`Error::Argument`] in one sentence: this is no report, it is of a newer version, or a field is
    /// damaged, and which.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::Argument(format!("bench: {what}"));
        let head: Head =
            serde_json::from_str(text).map_err(|e| wrong(format!("this is no report of a bench: {e}")))?;
        if head.format.as_deref() != Some(FORMAT) {
            let found = head.format.map_or("none".to_owned(), |f| format!("`{f}`"));
            return Err(wrong(format!("the field `format` must be `{FORMAT}`, but it is {found}")));
        }
        if head.version == Some(1.into()) {
            return Err(wrong(format!(
                "the field `version` is 1, a version without the rounds that runs are compared by: write the \
                 file anew with `bench --json`, which makes version {VERSION}"
            )));
        }
        if ![VERSION, BEFORE].iter().any(|v| head.version == Some((*v).into())) {
            let found = head.version.map_or("none".to_owned(), |v| v.to_string());
            return Err(wrong(format!("version {found} cannot be read here, only {BEFORE} and {VERSION}")));
        }
        let read = &mut serde_json::Deserializer::from_str(text);
        let Read { device, probes, rows, .. } = serde_path_to_error::deserialize(read)
            .map_err(|e| wrong(format!("{}: {}", e.path(), e.inner())))?;
        for (i, row) in rows.iter().enumerate() {
            sound(row).map_err(|what| wrong(format!("rows[{i}]: {what}")))?;
        }
        Ok(Self { device, probes, rows })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Argument`] with the file, as [`from_json`](Self::from_json), or if it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let error = |what: &dyn std::fmt::Display| Error::Argument(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| error(&e))?;
        Self::from_json(&text).map_err(|e| error(&e))
    }

    /// Writes a file, which has its name only when it is whole.
    ///
    /// # Errors
    /// [`Error::Argument`] with the file, if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        whole(path, self.to_json().as_bytes())
            .map_err(|e| Error::Argument(format!("bench: {}: {e}", path.display())))
    }

    /// Whether it is of the device that this is; the version of the library may be another.
    ///
    /// # Errors
    /// [`Error::Argument`] that names both.
    pub fn is_of(&self, profile: &Profile) -> Result<()> {
        let here = Device::of(profile);
        let same = |d: &Device| (d.adapter.clone(), d.backend.clone(), d.driver.clone());
        if same(&self.device) == same(&here) {
            return Ok(());
        }
        Err(Error::Argument(format!("bench: it was measured on {}, and this is {here}", self.device)))
    }
}

/// Whether a row's numbers are such as measuring gives.
fn sound(row: &Row) -> std::result::Result<(), String> {
    let Outcome::Timed(t) = &row.outcome else { return Ok(()) };
    let times = |s: &[f64]| !s.is_empty() && s.iter().all(|s| s.is_finite() && *s > 0.0);
    if !times(&t.seconds) {
        return Err("`seconds` must be times".into());
    }
    if !(1..=MOST_REPEATS).contains(&t.repeats) {
        return Err(format!("`repeats` must be 1 to {MOST_REPEATS}, but it is {}", t.repeats));
    }
    let sum = t.rounds.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
    if t.rounds.contains(&0) || sum != Some(t.seconds.len()) {
        return Err("`rounds` must be how many of `seconds` each round has, and add up to all".into());
    }
    let sum = t.sittings.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
    if t.sittings.contains(&0) || !t.sittings.is_empty() && sum != Some(t.rounds.len()) {
        return Err("`sittings` must be how many of `rounds` each sitting has, and add up to all".into());
    }
    match &t.beside {
        Some(b) if !times(&b.seconds) || b.seconds.len() != t.seconds.len() => {
            Err("`beside.seconds` must be as many times as `seconds`".into())
        }
        _ => Ok(()),
    }
}

/// In one line.
fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::tests::row;

    fn report() -> Report {
        let mut report = Report::new(&Profile::portable());
        let unit = crate::probe::Unit::Flops;
        report.probes.push(Reached { name: "probe.fma".into(), unit, value: Some(1e9), why_not: None });
        let wrong = Row { outcome: Outcome::Wrong("it is off".into()), ..row(&[1.0], &[1.0]) };
        report.rows = vec![row(&[1.0, 2.5e-7], &[0.1, 0.3]), wrong];
        report
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Report::from_json(&report().to_json()), Ok(report()));
        let empty = Report::new(&Profile::portable());
        assert_eq!(Report::from_json(&empty.to_json()), Ok(empty));
        let before = report().to_json().replace("\"version\": 3", "\"version\": 2");
        assert_eq!(Report::from_json(&before.replace("\"sittings\":[],", "")), Ok(report()));
    }

    #[test]
    fn what_is_foreign_damaged_or_newer_is_said_in_a_sentence() {
        let whole = report().to_json();
        for (from, to, says) in [
            ("{", "", "bench: this is no report of a bench: "),
            (FORMAT, "other", "bench: the field `format` must be `tachylite-bench`, but it is `other`"),
            ("\"version\": 3", "\"version\": 4", "bench: version 4 cannot be read here, only 2 and 3"),
            (
                "\"version\": 3",
                "\"version\": 1",
                "bench: the field `version` is 1, a version without the rounds",
            ),
            ("\"cold\":false", "\"cold\":0", "bench: rows[0].cold: invalid type"),
            ("\"repeats\":1", "\"more\":1", "bench: rows[0].outcome"),
            ("[1.0,2.5e-7]", "[1.0,-1.0]", "bench: rows[0]: `seconds` must be times"),
            ("\"rounds\":[1,1]", "\"rounds\":[1,2]", "bench: rows[0]: `rounds` must be how many"),
            ("\"rounds\":[1,1]", "\"rounds\":[0,2]", "bench: rows[0]: `rounds` must be how many"),
            ("\"sittings\":[]", "\"sittings\":[3]", "bench: rows[0]: `sittings` must be how many"),
            ("[0.1,0.3]", "[0.1]", "bench: rows[0]: `beside.seconds` must be as many"),
        ] {
            let damaged = whole.replacen(from, to, 1);
            assert_ne!(damaged, whole, "{from}");
            let said = Report::from_json(&damaged).unwrap_err().to_string();
            assert!(said.contains(says) && said.lines().count() == 1, "{said}");
        }
        let other = Profile { driver: "another".into(), ..Profile::portable() };
        let said = report().is_of(&other).unwrap_err().to_string();
        assert!(said.contains("any:portable ()") && said.contains("any:portable (another)"), "{said}");
        assert_eq!(report().is_of(&Profile::portable()), Ok(()));
    }
}

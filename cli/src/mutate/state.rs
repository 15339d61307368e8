//! What became of each mutant, as data: a line of JSON each, so that a run that was cut off goes on where
//! it was.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};
use tachylite::rng::Rng;

use super::operators::Mutant;
use crate::check::text;

/// What became of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// A case failed, crashed or hung.
    Killed,
    /// Every case that it reaches passed on every device.
    Survived,
    /// No case of the short list has the line in its text.
    NotReached,
    /// A device's compiler refused it.
    Invalid,
}

impl Fate {
    const ALL: [Self; 4] = [Self::Killed, Self::Survived, Self::NotReached, Self::Invalid];

    pub fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Survived => "survived",
            Self::NotReached => "not reached",
            Self::Invalid => "invalid",
        }
    }
}

/// A mutant with what became of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub id: String,
    /// Of the shader and the mutant.
    pub hash: String,
    pub fate: Fate,
    /// The devices that were asked.
    pub devices: Vec<String>,
    /// The device and the case that killed it, and the first words said of that.
    pub killer: Option<[String; 3]>,
    /// How many cases reach it.
    pub cases: usize,
    pub seconds: f64,
}

impl Record {
    pub fn new(mutant: &Mutant, fate: Fate, devices: &[String], cases: usize) -> Self {
        let (id, hash) = (mutant.id(), hash(mutant));
        Self { id, hash, fate, devices: devices.to_vec(), killer: None, cases, seconds: 0.0 }
    }

    /// Whether this says what would become of a mutant on these devices.
    fn answers(&self, mutant: &Mutant, devices: &[String]) -> bool {
        let asked = match &self.killer {
            Some([device, ..]) => devices.contains(device),
            None => devices.iter().all(|d| self.devices.contains(d)),
        };
        asked && self.id == mutant.id() && self.hash == hash(mutant)
    }

    pub fn to_json(&self) -> Value {
        let [device, case, words] = self.killer.clone().map_or([None, None, None], |k| k.map(Some));
        json!({
            "id": self.id, "hash": self.hash, "fate": self.fate.name(), "devices": self.devices,
            "device": device, "case": case, "words": words, "cases": self.cases, "seconds": self.seconds,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let field = |name| value.get(name)?.as_str().map(str::to_owned);
        let killer = match (field("device"), field("case"), field("words")) {
            (Some(device), Some(case), Some(words)) => Some([device, case, words]),
            _ => None,
        };
        let devices = value.get("devices")?.as_array()?;
        Some(Self {
            id: field("id")?,
            hash: field("hash")?,
            fate: Fate::ALL.into_iter().find(|f| f.name() == text(value, "fate"))?,
            devices: devices.iter().filter_map(|d| d.as_str().map(str::to_owned)).collect(),
            killer,
            cases: usize::try_from(value.get("cases")?.as_u64()?).ok()?,
            seconds: value.get("seconds")?.as_f64()?,
        })
    }
}

/// Of the mutant's text, which is the file's with one thing changed: so another for every edit of the file.
fn hash(mutant: &Mutant) -> String {
    format!("{:016x}", Rng::hash(&mutant.text))
}

/// Records, and the file that they are appended to as they come.
pub(super) struct State {
    known: Vec<Record>,
    file: Option<Mutex<File>>,
}

impl State {
    /// What the file holds; none is as good as an empty one. A last line that was cut off is dropped.
    pub fn open(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Self { known: Vec::new(), file: None }) };
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let held =
            if path.exists() { std::fs::read_to_string(path).map_err(|e| wrong(&e))? } else { String::new() };
        let mut known = Vec::new();
        let mut whole = 0;
        for (i, line) in held.split_inclusive('\n').enumerate() {
            let value: Option<Value> = serde_json::from_str(line).ok();
            match value.as_ref().and_then(Record::from_json) {
                Some(record) => known.push(record),
                None if !line.ends_with('\n') => break,
                None => return Err(wrong(&format!("line {} is no record of a mutant", i + 1))),
            }
            whole += line.len();
        }
        if whole < held.len() {
            std::fs::write(path, &held[..whole]).map_err(|e| wrong(&e))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(|e| wrong(&e))?;
        Ok(Self { known, file: Some(Mutex::new(file)) })
    }

    /// The last that is known of a mutant, if its file is as it was and these devices were asked.
    pub fn find(&self, mutant: &Mutant, devices: &[String]) -> Option<&Record> {
        self.known.iter().rev().find(|r| r.answers(mutant, devices))
    }

    /// Adds a record to the file.
    pub fn add(&self, record: &Record) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(file, "{}", record.to_json()).map_err(|e| format!("the file of --state: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::operators::mutants;

    #[test]
    fn a_run_goes_on_where_it_was_cut_off() {
        let path = std::env::temp_dir().join(format!("tachylite-state-{}", std::process::id()));
        let source = "fn f() {\n  let a = b + c < d;\n}\n";
        let made = mutants("f.wgsl", source);
        let devices = ["one".to_owned()];
        let state = State::open(Some(&path)).unwrap();
        let mut killed = Record::new(&made[0], Fate::Killed, &devices, 3);
        killed.killer = Some(["one", "case", "words"].map(str::to_owned));
        state.add(&killed).unwrap();
        state.add(&Record::new(&made[1], Fate::Survived, &devices, 3)).unwrap();
        drop(state);
        let mut held = std::fs::read_to_string(&path).unwrap();
        held.push_str("{\"id\": \"cut o");
        std::fs::write(&path, held).unwrap();

        let state = State::open(Some(&path)).unwrap();
        assert_eq!(state.find(&made[0], &devices), Some(&killed));
        let other = ["one".to_owned(), "two".to_owned()];
        assert_eq!(state.find(&made[0], &other).map(|r| r.fate), Some(Fate::Killed));
        assert_eq!(state.find(&made[1], &devices).map(|r| r.fate), Some(Fate::Survived));
        assert!(state.find(&made[1], &other).is_none(), "another device was not asked");
        let edited = mutants("f.wgsl", &source.replace("d;", "e;"));
        assert!(state.find(&edited[0], &devices).is_none(), "the file is another");
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("}\n"));
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(State::open(Some(&path)).is_err_and(|e| e.contains("line 1 is no record")));
        std::fs::remove_file(path).unwrap();
    }
}

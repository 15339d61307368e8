//! Runs the cases that a mutant reaches in a child for each device, until one of them goes wrong.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::operators::Mutant;
use super::state::{Fate, Record, State};
use crate::check::child::{End, Ended, OPEN, Running};
use crate::check::progress::Progress;
use crate::check::record::Status;
use crate::check::{report, text};
use crate::reexec;

/// How a device's compiler is heard of.
const REFUSED: &str = "WebGPU refused a call";
/// So many mutants a child is asked about: devices keep what they compiled.
const A_CHILD: usize = 40;
/// As many words of a failure as are kept.
const WORDS: usize = 160;

/// A mutant with the cases that reach it.
pub(super) struct Task<'a> {
    pub mutant: &'a Mutant,
    pub cases: Vec<String>,
}

/// Where and how.
pub(super) struct Settings<'a> {
    pub devices: &'a [String],
    /// How long a case may take.
    pub timeout: Duration,
    /// How many mutants at once.
    pub jobs: usize,
}

/// Runs all of them, adding what is found out to the state as it comes. Cases that fail unbroken say
/// nothing; the second result names them.
pub(super) fn run(
    tasks: &[Task<'_>],
    settings: &Settings<'_>,
    state: &State,
) -> Result<(Vec<Record>, Vec<String>), String> {
    let shared = Shared {
        next: AtomicUsize::new(0),
        records: Mutex::new(tasks.iter().map(|_| None).collect()),
        unbroken: Mutex::default(),
        killers: Mutex::default(),
        stopped: Mutex::new(None),
        progress: Mutex::new(Progress::new("mutate", tasks.len(), "survived")),
    };
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs.clamp(1, tasks.len().max(1)) {
            scope.spawn(|| {
                let children = settings.devices.iter().map(|_| None).collect();
                let mut job = Job { settings, shared: &shared, children };
                if let Err(why) = job.run(tasks, state) {
                    lock(&shared.stopped).get_or_insert(why);
                }
            });
        }
    });
    lock(&shared.progress).clear();
    if let Some(why) = lock(&shared.stopped).take() {
        return Err(why);
    }
    let unbroken = lock(&shared.unbroken);
    let failing = unbroken.iter().filter(|(_, passes)| !**passes);
    let mut failing: Vec<_> =
        failing.map(|((d, case), _)| format!("{case} on {}", settings.devices[*d])).collect();
    failing.sort();
    let records = lock(&shared.records).drain(..).flatten().collect();
    Ok((records, failing))
}

/// What the jobs share.
struct Shared {
    next: AtomicUsize,
    records: Mutex<Vec<Option<Record>>>,
    /// Whether a case passes unbroken on a device, of those that killed a mutant there.
    unbroken: Mutex<HashMap<(usize, String), bool>>,
    /// Shaders, and cases that killed a mutant of theirs.
    killers: Mutex<Vec<(&'static str, String)>>,
    /// Why nothing more is run.
    stopped: Mutex<Option<String>>,
    progress: Mutex<Progress>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One mutant after the other, with a child for each device.
struct Job<'a> {
    settings: &'a Settings<'a>,
    shared: &'a Shared,
    /// With how often each was asked.
    children: Vec<Option<(Running, usize)>>,
}

/// A case that went wrong, and the first words said of it.
struct Wrong {
    case: String,
    words: String,
}

impl Job<'_> {
    fn run(&mut self, tasks: &[Task<'_>], state: &State) -> Result<(), String> {
        loop {
            let i = self.shared.next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(i) else { return Ok(()) };
            if lock(&self.shared.stopped).is_some() {
                return Ok(());
            }
            lock(&self.shared.progress).begin(&task.mutant.id());
            let begun = Instant::now();
            let mut record = self.judge(task)?;
            record.seconds = begun.elapsed().as_secs_f64();
            state.add(&record)?;
            lock(&self.shared.progress).done(matches!(record.fate, Fate::Survived | Fate::NotReached));
            lock(&self.shared.records)[i] = Some(record);
        }
    }

    /// Asks one device after the other.
    fn judge(&mut self, task: &Task<'_>) -> Result<Record, String> {
        let devices = self.settings.devices;
        let record = |fate| Record::new(task.mutant, fate, devices, task.cases.len());
        if task.cases.is_empty() {
            return Ok(record(Fate::NotReached));
        }
        for (d, device) in devices.iter().enumerate() {
            let cases = self.killers_first(task);
            let mut left: &[String] = &cases;
            while let Some(wrong) = self.ask(d, Some(task.mutant), left)? {
                if wrong.words.starts_with(REFUSED) {
                    return Ok(record(Fate::Invalid));
                }
                if self.passes_unbroken(d, &wrong.case)? {
                    lock(&self.shared.killers).push((task.mutant.file, wrong.case.clone()));
                    let killer = Some([device.clone(), wrong.case, wrong.words]);
                    return Ok(Record { killer, ..record(Fate::Killed) });
                }
                let at = left.iter().position(|c| *c == wrong.case).unwrap_or(left.len() - 1);
                left = &left[at + 1..];
            }
        }
        Ok(record(Fate::Survived))
    }

    /// The cases of a task, with those in front that killed a mutant of the shader before, the last first.
    fn killers_first(&self, task: &Task<'_>) -> Vec<String> {
        let mut cases: Vec<String> = Vec::new();
        let of_file = |k: &(&str, String)| (k.0 == task.mutant.file).then(|| k.1.clone());
        let before: Vec<String> = lock(&self.shared.killers).iter().rev().filter_map(of_file).collect();
        let reaches: HashSet<&String> = task.cases.iter().collect();
        let mut seen = HashSet::new();
        for case in before.iter().filter(|c| reaches.contains(c)).chain(&task.cases) {
            if seen.insert(case) {
                cases.push(case.clone());
            }
        }
        cases
    }

    fn passes_unbroken(&mut self, device: usize, case: &str) -> Result<bool, String> {
        let key = (device, case.to_owned());
        if let Some(passes) = lock(&self.shared.unbroken).get(&key) {
            return Ok(*passes);
        }
        let passes = self.ask(device, None, &[case.to_owned()])?.is_none();
        lock(&self.shared.unbroken).insert(key, passes);
        Ok(passes)
    }

    /// Runs cases on a device, with a mutant in its shader's place; the first that goes wrong.
    fn ask(
        &mut self,
        device: usize,
        mutant: Option<&Mutant>,
        cases: &[String],
    ) -> Result<Option<Wrong>, String> {
        if cases.is_empty() {
            return Ok(None);
        }
        let name = &self.settings.devices[device];
        let (mut child, asked) = match self.children[device].take() {
            Some(child) => child,
            None => (start(name).map_err(|e| format!("cannot start itself: {e}"))?, 0),
        };
        let source = mutant.map_or(json!({}), |m| json!({ "file": m.file, "text": m.text }));
        let mut lines = vec![source.to_string()];
        lines.extend_from_slice(cases);
        child.tell(&lines);
        match listen(&mut child, self.settings.timeout) {
            Heard::Idle(wrong) => {
                self.children[device] = (asked + 1 < A_CHILD).then_some((child, asked + 1));
                Ok(wrong)
            }
            Heard::Ended(Some(wrong)) => Ok(Some(wrong)),
            Heard::Ended(None) => Err(format!("{name}: the process ended before it began a case")),
            Heard::Refused(why) => Err(format!("{name}: {why}")),
        }
    }
}

fn start(device: &str) -> std::io::Result<Running> {
    let mut command = reexec::this_program()?;
    command.args(["check-worker", "--until-wrong", "--adapter", device]);
    Running::start(command)
}

/// What a child said of its cases.
enum Heard {
    /// It waits for more.
    Idle(Option<Wrong>),
    /// It is gone, or was given up.
    Ended(Option<Wrong>),
    /// It cannot run anything.
    Refused(String),
}

fn listen(child: &mut Running, timeout: Duration) -> Heard {
    let (mut running, mut wrong) = (None, None);
    let mut patience = OPEN.max(timeout);
    loop {
        let lost = |words: String| running.clone().map(|case| Wrong { case, words });
        let line = match child.lines.recv_timeout(patience) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                let hung = format!("no result after {} s", patience.as_secs());
                return Heard::Ended(wrong.or_else(|| lost(hung)));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let how = match child.ended() {
                    End::Crashed(how) | End::Refused(how) => how,
                    End::Finished | End::Hung(_) => "the process ended".to_owned(),
                };
                return Heard::Ended(wrong.or_else(|| lost(how)));
            }
        };
        patience = timeout;
        // Drivers write to stdout too; what is no JSON is theirs.
        let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
        if let Some(why) = value.get("refused").and_then(Value::as_str) {
            return Heard::Refused(why.to_owned());
        }
        if let Some(case) = value.get("begin").and_then(Value::as_str) {
            running = Some(case.to_owned());
        }
        if let Some(end) = value.get("end") {
            let failed = Ended::Said(end.clone()).status() == Status::Fail;
            if failed && wrong.is_none() {
                wrong = Some(Wrong { case: text(end, "case").to_owned(), words: first_words(end) });
            }
        }
        if value.get("idle").is_some() {
            return Heard::Idle(wrong);
        }
    }
}

/// The beginning of what is said of a case that failed.
fn first_words(end: &Value) -> String {
    let first = end.get("failures").and_then(|f| f.get(0)).map(report::what).unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WORDS).collect()
}

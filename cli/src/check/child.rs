//! The parent's side: starts a child for an adapter, watches it, and starts another where one ended
//! before its work was done.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tachylite::check::Case;

use super::progress::Progress;
use super::record::{Record, Row, Status};
use super::{names, text};
use crate::reexec;

/// After so many children in a row that ended without finishing a single case, the adapter is given up.
const GIVE_UP: usize = 5;
/// How long a driver may take to open.
const OPEN: Duration = Duration::from_secs(120);

/// What came of an adapter.
pub(super) enum Ran {
    /// It ran; here is how it went.
    On(Record),
    /// It could not be run at all, and why.
    Not(String),
}

/// Runs cases on an adapter.
pub(super) fn check(adapter: &str, cases: &[Case], seed: Option<u64>, timeout: Duration) -> Ran {
    let mut record = Record::new(adapter, cases.len());
    let mut progress = Progress::new(adapter, cases.len());
    let mut fruitless = 0;
    while record.rows.len() < cases.len() {
        let rest = &cases[record.rows.len()..];
        let done = record.rows.len();
        let end = one_child(adapter, rest, seed, timeout, &mut record, &mut progress);
        let (status, reason) = match end {
            End::Finished if record.rows.len() == cases.len() => break,
            // A device that is lost ends the child after a result of its own.
            End::Finished if record.rows.len() > done => continue,
            End::Refused(why) if record.rows.is_empty() => return Ran::Not(why),
            End::Refused(why) => (Status::Crash, format!("the adapter did not open again: {why}")),
            End::Finished => (Status::Crash, "the child ended without a result".to_owned()),
            End::Crashed(why) => (Status::Crash, why),
            End::Hung(after) => (Status::Hang, format!("no result after {} s", after.as_secs())),
        };
        if record.device.is_null() && record.rows.is_empty() {
            return Ran::Not(format!("the driver failed while it was opened: {reason}"));
        }
        fruitless = if record.rows.len() > done { 0 } else { fruitless + 1 };
        let case = &cases[record.rows.len()];
        record.rows.push(Row::lost(case, seed.unwrap_or_else(|| case.seed()), status, reason));
        progress.done(record.rows.last());
        if fruitless >= GIVE_UP {
            let rest = &cases[record.rows.len()..];
            let why = format!("not run: {GIVE_UP} children in a row did not finish a case");
            let lost = |c: &Case| Row::lost(c, seed.unwrap_or_else(|| c.seed()), Status::Crash, why.clone());
            record.rows.extend(rest.iter().map(lost));
        }
    }
    progress.clear();
    Ran::On(record)
}

/// How a child ended.
enum End {
    Finished,
    Refused(String),
    Crashed(String),
    Hung(Duration),
}

fn one_child(
    adapter: &str,
    cases: &[Case],
    seed: Option<u64>,
    timeout: Duration,
    record: &mut Record,
    progress: &mut Progress,
) -> End {
    let mut running = match Running::start(adapter, cases, seed) {
        Ok(running) => running,
        Err(e) => return End::Refused(format!("cannot start itself: {e}")),
    };
    let mut deadline = Instant::now() + OPEN.max(timeout);
    let mut left = cases.iter();
    loop {
        let line = match running.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                running.kill();
                return End::Hung(timeout);
            }
            Err(RecvTimeoutError::Disconnected) => return running.ended(),
        };
        // Drivers write to stdout too; what is no JSON is theirs.
        let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
        if let Some(why) = value.get("refused").and_then(Value::as_str) {
            running.kill();
            return End::Refused(why.to_owned());
        }
        if let Some(device) = value.get("opened") {
            progress.opened(device);
            record.device = device.clone();
        }
        if let Some(name) = value.get("begin").and_then(Value::as_str) {
            progress.begin(name);
        }
        if let Some(end) = value.get("end")
            && let Some(case) = left.next().filter(|c| c.to_string() == text(end, "case"))
        {
            record.rows.push(Row::from_json(case, end));
            progress.done(record.rows.last());
        }
        deadline = Instant::now() + timeout;
    }
}

/// A child, with what it says.
struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Running {
    fn start(adapter: &str, cases: &[Case], seed: Option<u64>) -> std::io::Result<Self> {
        let mut command: Command = reexec::this_program()?;
        command.args(["check-worker", "--adapter", adapter]);
        if let Some(seed) = seed {
            command.args(["--seed", &seed.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            let all = stdout.into_iter().flat_map(|out| BufReader::new(out).lines().map_while(Result::ok));
            for line in all {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = std::thread::spawn(move || last_words(stderr));
        if let Some(stdin) = &mut stdin {
            // A child that is gone already is noticed when it is waited for.
            let _ = stdin.write_all(names(cases).as_bytes());
        }
        Ok(Self { child, lines, errors: Some(errors) })
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn ended(&mut self) -> End {
        let status = self.child.wait();
        let words = self.errors.take().and_then(|e| e.join().ok()).unwrap_or_default();
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        match status {
            Ok(status) if status.success() => End::Finished,
            Ok(status) => End::Crashed(format!("the process ended with {}{words}", how(status))),
            Err(e) => End::Crashed(format!("the process could not be waited for: {e}{words}")),
        }
    }
}

fn how(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            return format!("signal {signal}");
        }
    }
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}

/// The end of what a child wrote to stderr, where a panic or a driver says why.
fn last_words(stderr: Option<impl Read>) -> String {
    const KEPT: usize = 600;
    let mut tail: Vec<u8> = Vec::new();
    let mut piece = [0; 4096];
    let Some(mut stderr) = stderr else { return String::new() };
    while let Ok(n @ 1..) = stderr.read(&mut piece) {
        tail.extend_from_slice(&piece[..n]);
        tail.drain(..tail.len().saturating_sub(KEPT));
    }
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" | ")
}

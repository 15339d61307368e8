//! The parent's side: children for an adapter, each with a share of the cases; watches them, and
//! starts another where one ended before its work was done.

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::progress::Progress;
use super::record::Status;
use super::text;

/// After so many children in a row that ended without finishing a single case, the adapter is given up.
const GIVE_UP: usize = 5;
/// How long a driver may take to open.
pub(crate) const OPEN: Duration = Duration::from_secs(120);
/// How much later than its child the parent gives up a runner.
pub(super) const WATCHED: Duration = Duration::from_secs(15);

/// What came of an adapter.
pub(crate) enum Ran {
    /// It ran: what it is, and how each case ended, in order.
    On { device: Value, ends: Vec<Ended> },
    /// It could not be run at all, and why.
    Not(String),
}

/// How a case ended.
pub(crate) enum Ended {
    /// What the child said of it.
    Said(Value),
    /// The child did not live to tell, and why.
    Lost(Status, String),
}

impl Ended {
    /// What became of the case; nonsense is a failure.
    pub fn status(&self) -> Status {
        match self {
            Self::Lost(status, _) => *status,
            Self::Said(end) => match text(end, "status") {
                "pass" => Status::Pass,
                "unsupported" => Status::Unsupported,
                "expected failure" => Status::ExpectedFailure,
                "unexpected pass" => Status::UnexpectedPass,
                _ => Status::Fail,
            },
        }
    }
}

/// What is run, and how.
pub(crate) struct Work<'a> {
    /// The adapter's name, or the runner's.
    pub adapter: &'a str,
    /// The names of the cases: one line each, none empty.
    pub names: &'a [String],
    /// Which of them a child gets at a time.
    pub shares: Vec<Range<usize>>,
    /// How long a case may take.
    pub timeout: Duration,
    /// How much longer a child is waited for, so that it can say itself that something hangs.
    pub patience: Duration,
    /// How many children at once.
    pub jobs: usize,
    /// What starts a child.
    pub program: &'a (dyn Fn() -> std::io::Result<Command> + Sync),
}

/// Runs cases on an adapter.
pub(crate) fn check(work: Work<'_>) -> Ran {
    let mut queue = work.shares.clone();
    // Taken from the back.
    queue.reverse();
    let total = work.names.len();
    let state = Mutex::new(State {
        queue,
        ends: (0..total).map(|_| None).collect(),
        device: Value::Null,
        stopped: None,
        progress: Progress::new(work.adapter, total, "wrong"),
    });
    std::thread::scope(|scope| {
        for _ in 0..work.jobs.max(1) {
            scope.spawn(|| Job { work: &work, state: &state, running: None, fruitless: 0 }.run());
        }
    });
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.progress.clear();
    let why = state.stopped.unwrap_or_else(|| "not run".to_owned());
    if state.device.is_null() {
        return Ran::Not(why);
    }
    let ends =
        state.ends.into_iter().map(|end| end.unwrap_or_else(|| Ended::Lost(Status::Crash, why.clone())));
    Ran::On { device: state.device, ends: ends.collect() }
}

/// What the jobs of one adapter share.
struct State {
    queue: Vec<Range<usize>>,
    ends: Vec<Option<Ended>>,
    device: Value,
    /// Why nothing more is run.
    stopped: Option<String>,
    progress: Progress,
}

/// Keeps one child busy.
struct Job<'a> {
    work: &'a Work<'a>,
    state: &'a Mutex<State>,
    running: Option<Running>,
    /// Children in a row that did not finish a case.
    fruitless: usize,
}

/// How a child's work on a share ended.
pub(crate) enum End {
    Finished,
    Refused(String),
    Crashed(String),
    Hung(Duration),
}

impl Job<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(mut self) {
        loop {
            let mut state = self.state();
            let share = if state.stopped.is_some() { None } else { state.queue.pop() };
            drop(state);
            match share {
                Some(share) => self.share(share),
                None => return,
            }
        }
    }

    /// Runs a share to its end, with as many children as it takes.
    fn share(&mut self, mut rest: Range<usize>) {
        while !rest.is_empty() && self.state().stopped.is_none() {
            let begun = rest.start;
            let end = self.one_child(&mut rest);
            let (status, reason) = match end {
                End::Finished => continue,
                End::Refused(why) => (Status::Crash, why),
                End::Crashed(why) => (Status::Crash, why),
                End::Hung(after) => (Status::Hang, format!("no result after {} s", after.as_secs())),
            };
            self.fruitless = if rest.start > begun { 0 } else { self.fruitless + 1 };
            let mut state = self.state();
            if state.device.is_null() {
                state.stopped.get_or_insert(reason);
                return;
            }
            if self.fruitless >= GIVE_UP {
                state.stopped = Some(format!("not run: {GIVE_UP} children in a row did not finish a case"));
            }
            drop(state);
            if let Some(case) = rest.next() {
                self.finish(case, Ended::Lost(status, reason));
            }
        }
    }

    fn finish(&self, case: usize, end: Ended) {
        let mut state = self.state();
        state.progress.done(end.status().is_wrong());
        state.ends[case] = Some(end);
    }

    /// Gives a child the rest of a share, and takes from it what gets a result.
    fn one_child(&mut self, rest: &mut Range<usize>) -> End {
        let mut running = match self.running.take().map_or_else(|| Running::start((self.work.program)()?), Ok)
        {
            Ok(running) => running,
            Err(e) => return End::Refused(format!("cannot start itself: {e}")),
        };
        running.tell(&self.work.names[rest.clone()]);
        let timeout = self.work.timeout + self.work.patience;
        let mut deadline = Instant::now() + OPEN.max(timeout);
        loop {
            let line = match running.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => return End::Hung(timeout),
                Err(RecvTimeoutError::Disconnected) => return running.ended(),
            };
            // Drivers write to stdout too; what is no JSON is theirs.
            let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
            if let Some(why) = value.get("refused").and_then(Value::as_str) {
                return End::Refused(why.to_owned());
            }
            if value.get("hung").is_some() {
                return End::Hung(self.work.timeout);
            }
            if let Some(device) = value.get("opened") {
                self.state().opened(device);
            }
            if let Some(name) = value.get("begin").and_then(Value::as_str) {
                self.state().progress.begin(name);
            }
            if let Some(end) = value.get("end")
                && let Some(case) = rest.next()
            {
                self.finish(case, Ended::Said(end.clone()));
                if end.get("device_lost") == Some(&Value::Bool(true)) {
                    return End::Finished;
                }
            }
            if value.get("idle").is_some() {
                if rest.start < rest.end {
                    return End::Crashed("the process left out a case".into());
                }
                self.running = Some(running);
                return End::Finished;
            }
            deadline = Instant::now() + timeout;
        }
    }
}

impl State {
    fn opened(&mut self, device: &Value) {
        if self.device.is_null() {
            self.progress.opened(device);
            self.device = device.clone();
        }
    }
}

/// A child, with what it says.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    pub lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Running {
    pub fn start(mut command: Command) -> std::io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // glibc gives large blocks back at once, and faulting them in again was 40 % of a large case
        // on llvmpipe, whose device memory is malloc's too. Elsewhere the names mean nothing.
        command.env("MALLOC_MMAP_THRESHOLD_", "2147483648").env("MALLOC_TRIM_THRESHOLD_", "4294967296");
        let mut child = command.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
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
        Ok(Self { child, stdin, lines, errors: Some(errors) })
    }

    /// Names the cases to run next.
    pub fn tell(&mut self, names: &[String]) {
        if let Some(stdin) = &mut self.stdin {
            let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
            // A child that is gone is noticed when it is listened to.
            let _ = stdin.write_all(format!("{lines}\n").as_bytes()).and_then(|()| stdin.flush());
        }
    }

    /// How it ended; waits until it has.
    pub fn ended(&mut self) -> End {
        let status = self.child.wait();
        let words = self.errors.take().and_then(|e| e.join().ok()).unwrap_or_default();
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        match status {
            Ok(status) if status.success() => {
                End::Crashed("the process ended before its work was done".into())
            }
            Ok(status) => End::Crashed(format!("the process ended with {}{words}", how(status))),
            Err(e) => End::Crashed(format!("the process could not be waited for: {e}{words}")),
        }
    }
}

impl Drop for Running {
    /// A child that is not needed any more, or does not answer.
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn how(status: ExitStatus) -> String {
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
pub(super) fn last_words(stderr: Option<impl Read>) -> String {
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

#[cfg(all(test, unix))]
mod tests;

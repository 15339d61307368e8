//! How far it is, on stderr: one line that changes on a terminal, else a line now and then.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::text;

/// How often a line is written where nobody watches.
const NOW_AND_THEN: Duration = Duration::from_secs(10);
/// How often the line changes on a terminal.
const OFTEN: Duration = Duration::from_millis(100);

pub(crate) struct Progress {
    adapter: String,
    total: usize,
    done: usize,
    /// What is counted: a word, and how many.
    counted: (&'static str, usize),
    terminal: bool,
    last: Instant,
}

impl Progress {
    /// Of `total` things on an adapter, counting those that are `counted`.
    pub fn new(adapter: &str, total: usize, counted: &'static str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            adapter: adapter.to_owned(),
            total,
            done: 0,
            counted: (counted, 0),
            terminal,
            last: Instant::now(),
        }
    }

    /// The adapter is open, and this is what it is.
    pub fn opened(&mut self, device: &Value) {
        self.adapter = format!("{}:{}", text(device, "backend"), text(device, "name"));
        self.clear();
        crate::note(&format!("{} (driver: {})\n", self.adapter, text(device, "driver")));
    }

    pub fn begin(&mut self, case: &str) {
        self.show(case);
    }

    pub fn done(&mut self, counts: bool) {
        self.done += 1;
        self.counted.1 += usize::from(counts);
    }

    fn show(&mut self, case: &str) {
        let wait = if self.terminal { OFTEN } else { NOW_AND_THEN };
        if self.last.elapsed() < wait {
            return;
        }
        self.last = Instant::now();
        let (what, count) = self.counted;
        let line = format!("{} of {}, {count} {what}: {case}", self.done, self.total);
        if self.terminal {
            let line: String = line.chars().take(100).collect();
            crate::note(&format!("\r\x1b[K{line}"));
            let _ = std::io::stderr().flush();
        } else {
            crate::note(&format!("{}: {line}\n", self.adapter));
        }
    }

    /// Wipes the line that changes.
    pub fn clear(&self) {
        if self.terminal {
            crate::note("\r\x1b[K");
        }
    }
}

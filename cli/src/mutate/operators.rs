//! The operators: what is done to a shader, one place at a time. Each makes at most one mutant of a token.
//!
//! Only the bodies of functions are changed. What stands outside is declarations that the host reads, and
//! knobs, of which many change speed alone; and what a function named `touch_…` returns is brought into a cache,
//! and is in no result.

use std::fmt;
use std::ops::Range;

use super::tokens::Code;

mod rules;

/// Bytes of a text with what replaces them.
pub(super) type Edits = Vec<(Range<usize>, String)>;

/// One way to break a shader.
pub(super) struct Operator {
    pub name: &'static str,
    /// What it does to the token at a place, if anything.
    at: fn(&Code<'_>, usize) -> Option<Edits>,
}

macro_rules! operators {
    ($($name:ident)*) => { &[$(Operator { name: stringify!($name), at: rules::$name }),*] };
}

/// All of them.
pub(super) const ALL: &[Operator] = operators! {
    barrier index_up index_down bound_up bound_down start_up less equal extremum plus divide component guard
    never mask unmask initial omit post exchange parameter constant logic shift negate
};

/// A shader with one thing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mutant {
    /// The shader's name under `shaders/`.
    pub file: &'static str,
    pub line: usize,
    pub column: usize,
    pub operator: &'static str,
    /// The first line that changes, without the blanks around it, and what it becomes.
    pub before: String,
    pub after: String,
    /// The whole text, changed.
    pub text: String,
}

impl Mutant {
    /// A name that stays while the file does.
    pub fn id(&self) -> String {
        format!("{}:{}:{}:{}", self.file, self.line, self.column, self.operator)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  - {}\n  + {}\n", self.id(), self.before, self.after)
    }
}

/// Every mutant of a shader, in the order of its text; of those that are the same text, the first.
pub(super) fn mutants(file: &'static str, source: &str) -> Vec<Mutant> {
    let code = Code::new(source);
    let touched = touched(source);
    let mut out: Vec<Mutant> = Vec::new();
    for i in 0..code.tokens.len() {
        if touched.iter().any(|range| range.contains(&code.tokens[i].range.start)) {
            continue;
        }
        for operator in ALL {
            let Some(edits) = (operator.at)(&code, i) else { continue };
            let (line, column) = code.line_and_column(code.tokens[i].range.start);
            let mut mutant = Mutant {
                file,
                line,
                column,
                operator: operator.name,
                before: String::new(),
                after: String::new(),
                text: changed(source, edits),
            };
            let lines = source.lines().zip(mutant.text.lines());
            let Some((before, after)) = lines.into_iter().find(|(a, b)| a != b) else { continue };
            (mutant.before, mutant.after) = (before.trim().to_owned(), after.trim().to_owned());
            if !out.iter().any(|m| m.text == mutant.text) {
                out.push(mutant);
            }
        }
    }
    out
}

/// Where the functions stand whose results only touch memory.
fn touched(source: &str) -> Vec<Range<usize>> {
    let starts = source.match_indices("\nfn touch_").map(|(at, _)| at);
    starts.map(|at| at..source[at..].find("\n}").map_or(source.len(), |length| at + length + 2)).collect()
}

fn changed(source: &str, mut edits: Edits) -> String {
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut text = source.to_owned();
    edits.into_iter().for_each(|(range, with)| text.replace_range(range, &with));
    text
}

#[cfg(test)]
mod tests;

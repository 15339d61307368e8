//! A single compute shader under every freedom that WGSL grants: what is wrong with it, and where.
//!
//! The shader is run once under each personality on the same inputs. What any run finds is a finding; if none
//! finds anything, results are compared between personalities.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use naga::valid::{Capabilities, ValidationFlags, Validator};

use super::finding::{Finding, Kind};
use super::lower::naga_dialect;
use super::personality::Personality;
use super::shader::{Contents, Ran, Shader, Unrunnable};
use super::{BufferKind, Place, VirtualGpu};

mod differ;
mod fill;
mod layout;
#[cfg(test)]
mod tests;
mod words;

use differ::Spread;
use fill::Filled;
use layout::Variable;

/// WebGPU's default limit of workgroups along an axis.
const MOST_WORKGROUPS: u32 = 65_535;

/// What a shader does not say about its run.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// What findings call the file.
    pub file: String,
    /// The entry point; may be left out if there is one.
    pub entry: Option<String>,
    /// Workgroups along each axis, at least one.
    pub dispatch: [u32; 3],
    /// Buffers by the names of their variables. One that is left out is filled by default.
    pub buffers: BTreeMap<String, BufferSetup>,
    /// Values of overrides.
    pub overrides: Vec<(String, f64)>,
    /// What random contents are drawn from.
    pub seed: u64,
    /// What to run it on.
    pub personalities: Vec<Personality>,
}

/// A buffer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BufferSetup {
    /// Elements of its runtime-sized array; must be given if it has one.
    pub len: Option<u64>,
    /// What it holds at first. By default [`Fill::Unwritten`] where the shader may write, else [`Fill::Random`].
    pub fill: Option<Fill>,
}

/// What a buffer holds at first.
#[derive(Debug, Clone, PartialEq)]
pub enum Fill {
    /// Floats in [-2, 2), unsigned numbers below 256, signed ones from -128 to 127.
    Random,
    /// Zeros.
    Zero,
    /// Nothing that may be read.
    Unwritten,
    /// These numbers again and again, scalar by scalar, each as its type.
    Values(Vec<f64>),
}

/// Why a shader could not be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The shader: it is not valid, or uses what the virtual GPU does not know.
    Shader(Unrunnable),
    /// The setup does not fit the shader.
    Setup {
        /// Which part of it, as `buffers.x.len`.
        field: String,
        /// Why, in a sentence without its end.
        message: String,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shader(Unrunnable { place: Some(place), message }) => write!(f, "{place}: {message}"),
            Self::Shader(Unrunnable { place: None, message }) => f.write_str(message),
            Self::Setup { field, message } => write!(f, "{field}: {message}"),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Unrunnable> for Refused {
    fn from(why: Unrunnable) -> Self {
        Self::Shader(why)
    }
}

/// Runs a shader under every personality of the setup. Findings are in order of line, one for each kind and
/// line; a race is found at that of its two accesses that stands later in the file.
///
/// # Errors
/// [`Refused`] if the shader cannot be run, or the setup does not fit it.
pub fn lint(source: &str, setup: &Setup) -> Result<Vec<Finding>, Refused> {
    let bench = Bench::new(source, setup)?;
    let mut found = Found::default();
    let mut runs = Vec::new();
    for personality in &setup.personalities {
        let shader = bench.shader(personality)?;
        let ran = shader.dispatched(setup.dispatch, &bench.contents)?;
        found.add(ran.left.findings.iter().map(|f| bench.located(f)));
        // It would run to the bound under every other personality too.
        if found.has(|kind| kind == Kind::EndlessLoop) {
            return Ok(found.in_order());
        }
        runs.push((shader, ran));
    }
    // Anything that is wrong makes results differ.
    if !found.has(|kind| !kind.is_warning()) {
        found.add(bench.differences(&runs)?);
    }
    Ok(found.in_order())
}

/// What all runs of a shader have in common.
struct Bench<'a> {
    source: &'a str,
    setup: &'a Setup,
    /// In the order in which the shader binds them, as are the contents.
    variables: Vec<(Variable, BufferKind, Filled)>,
    contents: Vec<Contents>,
}

impl<'a> Bench<'a> {
    fn new(source: &'a str, setup: &'a Setup) -> Result<Self, Refused> {
        let mut bench = Self { source, setup, variables: Vec::new(), contents: Vec::new() };
        let shader = bench.shader(&Personality::plain())?;
        for (axis, count) in setup.dispatch.iter().enumerate() {
            if !(1..=MOST_WORKGROUPS).contains(count) {
                let message =
                    format!("{count} workgroups, but there may be 1 to {MOST_WORKGROUPS} along an axis");
                return Err(Refused::Setup { field: format!("dispatch[{axis}]"), message });
            }
        }
        let declared = declared(source)?;
        for name in setup.buffers.keys() {
            if !declared.iter().any(|v| v.name == *name) {
                let names: Vec<_> = declared.iter().map(|v| v.name.as_str()).collect();
                let message = match names.as_slice() {
                    [] => "the shader binds nothing".into(),
                    names => format!("the shader binds no such variable, but {}", names.join(", ")),
                };
                return Err(Refused::Setup { field: format!("buffers.{name}"), message });
            }
        }
        for decl in shader.buffers() {
            let Some(variable) = declared.iter().find(|v| v.name == decl.name) else {
                let message = format!("`{}` is bound and not declared", decl.name);
                return Err(Unrunnable { place: None, message }.into());
            };
            let asked = setup.buffers.get(&decl.name).cloned().unwrap_or_default();
            let filled = fill::fill(variable, decl, &asked, setup.seed)?;
            bench.contents.push(if filled.is_written {
                Contents::Bytes(filled.bytes.clone())
            } else {
                Contents::Unwritten(filled.bytes.len() as u64)
            });
            bench.variables.push((variable.clone(), decl.kind, filled));
        }
        Ok(bench)
    }

    fn shader(&self, personality: &Personality) -> Result<Shader, Unrunnable> {
        let Setup { file, entry, overrides, .. } = self.setup;
        VirtualGpu::new(personality.clone()).shader(file, self.source, overrides, entry.as_deref())
    }

    /// A finding with the element's number instead of the word's, and, of what is never stored to, the place where
    /// it is declared.
    fn located(&self, finding: &Finding) -> Finding {
        use Kind::{NeverWritten, RaceDispatch, RaceWorkgroup, UnwrittenRead};
        let mut finding = finding.clone();
        let named = |v: &&(Variable, BufferKind, Filled)| finding.buffer.as_ref() == Some(&v.0.name);
        let Some((variable, ..)) = self.variables.iter().find(named) else { return finding };
        if matches!(finding.kind, NeverWritten | RaceDispatch | RaceWorkgroup | UnwrittenRead) {
            let word = finding.index.and_then(|word| u32::try_from(word).ok());
            finding.index = word.and_then(|word| variable.index(word.saturating_mul(4)));
        }
        if finding.place == Place::default() {
            finding.place = variable.place;
        }
        finding
    }

    /// Of each variable that the shader may write, where results differ by more than rounding explains.
    fn differences(&self, runs: &[(Shader, Ran)]) -> Result<Vec<Finding>, Refused> {
        let mut rounded = Vec::new();
        for personality in differ::roundings(self.setup.seed) {
            let shader = self.shader(&personality)?;
            let ran = shader.dispatched(self.setup.dispatch, &self.contents)?;
            rounded.push((shader, ran));
        }
        let mut found = Vec::new();
        for (number, (variable, kind, filled)) in self.variables.iter().enumerate() {
            if *kind != BufferKind::ReadWrite {
                continue;
            }
            let bytes: Vec<&[u8]> =
                rounded.iter().map(|(_, ran)| ran.left.buffers[number].as_slice()).collect();
            let spread = Spread::new(variable, filled.len, &bytes);
            let differs = rounded.iter().chain(runs).find_map(|(shader, ran)| {
                Some((shader, ran, spread.first_difference(&ran.left.buffers[number])?))
            });
            let Some((shader, ran, difference)) = differs else { continue };
            let nobody = (variable.place, [0; 3], 0);
            let (place, workgroup, lane) = ran.writer(number, difference.offset).unwrap_or(nobody);
            found.push(Finding {
                kind: Kind::Differs,
                kernel: shader.entry().to_owned(),
                file: self.setup.file.clone(),
                place,
                workgroup,
                lane,
                buffer: Some(variable.name.clone()),
                index: difference.index,
                count: None,
                writes: true,
                other: None,
                used: None,
                personality: shader.personality().name.clone(),
                detail: difference.detail,
            });
        }
        Ok(found)
    }
}

/// The variables that a text binds; it is known to be valid.
fn declared(source: &str) -> Result<Vec<Variable>, Unrunnable> {
    let wrong = |message: String| Unrunnable { place: None, message };
    let source = &*naga_dialect(source);
    let module = naga::front::wgsl::parse_str(source).map_err(|e| wrong(e.message().to_owned()))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
    let info = info.map_err(|e| wrong(e.into_inner().to_string()))?;
    Ok(layout::variables(source, &module, &info))
}

/// What was found, one finding for each kind, line and variable.
#[derive(Default)]
struct Found(BTreeMap<(u32, u32, Kind), Finding>);

impl Found {
    fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            let finding = settled(finding);
            let same = |f: &Finding| {
                (f.place.line, f.kind, &f.buffer) == (finding.place.line, finding.kind, &finding.buffer)
            };
            if !self.0.values().any(same) {
                self.0.insert((finding.place.line, finding.place.column, finding.kind), finding);
            }
        }
    }

    fn has(&self, which: impl Fn(Kind) -> bool) -> bool {
        self.0.keys().any(|(_, _, kind)| which(*kind))
    }

    /// Elements that nothing wrote say nothing new where reading them was found.
    fn in_order(self) -> Vec<Finding> {
        let read: BTreeSet<_> = (self.0.values().filter(|f| f.kind == Kind::UnwrittenRead))
            .filter_map(|f| f.buffer.clone())
            .collect();
        let told =
            |f: &Finding| f.kind == Kind::NeverWritten && f.buffer.as_ref().is_some_and(|b| read.contains(b));
        self.0.into_values().filter(|f| !told(f)).collect()
    }
}

/// A race with its later access first, whichever of the two ran first.
fn settled(mut finding: Finding) -> Finding {
    if let Some(other) = &mut finding.other
        && other.place > finding.place
    {
        std::mem::swap(&mut other.place, &mut finding.place);
        std::mem::swap(&mut other.workgroup, &mut finding.workgroup);
        std::mem::swap(&mut other.lane, &mut finding.lane);
        std::mem::swap(&mut other.write, &mut finding.writes);
    }
    finding
}

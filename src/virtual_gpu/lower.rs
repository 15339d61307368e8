//! From WGSL to a [`Program`]: naga parses and validates, functions are inlined, values taken apart into
//! scalars, and what that leaves over is tidied up.
//!
//! A value is a list of registers, so building and taking apart vectors, arrays and structs is work of
//! the lowering alone. Pointers are places known here, but for their dynamic indices.

use std::borrow::Cow;
use std::error::Error;

use naga::back::{PipelineConstants, pipeline_constants};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{ShaderStage, Span};

use super::program::{Place, Program};

mod allocate;
mod arithmetic;
mod builder;
mod built_ins;
mod expressions;
mod globals;
mod operands;
mod optimise;
mod parallel;
mod places;
mod rewrite;
mod shapes;
mod statements;
#[cfg(test)]
mod tests;

use builder::Builder;

/// What a compiler may do with floating-point arithmetic, and this one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rewrites {
    /// `a * b + c` is rounded once.
    pub contract: bool,
    /// `(x + a) - b` is `x + (a - b)` where `a` and `b` are constants.
    pub reassociate: bool,
}

/// Why a text cannot be run, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    /// Where, if that is known.
    pub place: Option<Place>,
    /// What is wrong with it.
    pub message: String,
}

type Result<T> = std::result::Result<T, Rejected>;

/// The program of an entry point of `source`, which may be left out if there is but one.
///
/// # Errors
///
/// If naga refuses the text, an override has no value or a name that the text does not know, the entry
/// point is not there or does not compute, or the text uses what the virtual GPU does not know.
pub(super) fn lower(
    source: &str,
    overrides: &[(String, f64)],
    entry: Option<&str>,
    how: Rewrites,
) -> Result<Program> {
    let at = |location: Option<naga::SourceLocation>| {
        location.map(|l| Place { line: l.line_number, column: l.line_position })
    };
    let source = &*naga_dialect(source);
    let module = naga::front::wgsl::parse_str(source)
        .map_err(|e| Rejected { place: at(e.location(source)), message: e.message().to_owned() })?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|e| Rejected { place: at(e.location(source)), message: sentence(e.as_inner()) })?;

    let name = entry_point(&module, entry)?;
    let mut values = PipelineConstants::default();
    for (name, value) in overrides {
        // naga knows an override with an `@id` by nothing else.
        let named =
            module.overrides.iter().find(|(_, o)| o.name.as_ref() == Some(name)).and_then(|(_, o)| o.id);
        values.insert(named.map_or_else(|| name.clone(), |id| id.to_string()), *value);
    }
    let stage = Some((ShaderStage::Compute, name.as_str()));
    let (module, info) = pipeline_constants::process_overrides(&module, &info, stage, &values)
        .map_err(|e| Rejected { place: None, message: sentence(&e) })?;
    let index = module.entry_points.iter().position(|e| e.name == name).unwrap_or(0);

    let mut builder = Builder::new(source, &module, &info)?;
    builder.entry_point(index)?;
    Ok(builder.finish(&name, module.entry_points[index].workgroup_size, how))
}

/// The text without `subgroups` among its `enable` extensions, which WGSL wants said and naga 30 refuses;
/// everything stands where it stood.
pub(super) fn naga_dialect(source: &str) -> Cow<'_, str> {
    if !source.contains("subgroups") {
        return Cow::Borrowed(source);
    }
    let line = |line: &str| {
        let words = line.trim_start();
        let Some(list) = words.strip_prefix("enable ").and_then(|rest| rest.split_once(';')) else {
            return line.to_owned();
        };
        let kept: Vec<&str> = list.0.split(',').map(str::trim).filter(|e| *e != "subgroups").collect();
        let directive = if kept.is_empty() { String::new() } else { format!("enable {};", kept.join(", ")) };
        let width = line.len() - list.1.len();
        format!("{directive:<width$}{}", list.1)
    };
    Cow::Owned(source.split_inclusive('\n').map(line).collect())
}

/// The entry point that is meant.
fn entry_point(module: &naga::Module, entry: Option<&str>) -> Result<String> {
    let names: Vec<_> = module
        .entry_points
        .iter()
        .filter(|e| e.stage == ShaderStage::Compute)
        .map(|e| e.name.as_str())
        .collect();
    let message = match (entry, names.as_slice()) {
        (None, [one]) => return Ok((*one).to_owned()),
        (Some(name), _) if names.contains(&name) => return Ok(name.to_owned()),
        (_, []) => "there is no compute entry point".to_owned(),
        (Some(name), _) => format!("there is no compute entry point {name}, but {}", names.join(", ")),
        (None, _) => format!("which entry point is meant is not said: there are {}", names.join(", ")),
    };
    Err(Rejected { place: None, message })
}

/// An error and what is behind it, in one sentence.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{}: {error}", text.trim_end_matches('.'));
        source = error.source();
    }
    text
}

/// That something is not known, with where it stands.
fn unknown<T>(builder: &Builder<'_>, what: &str, span: Span) -> Result<T> {
    let message = format!("the virtual GPU does not know {what}");
    Err(Rejected { place: builder.place(span), message })
}

//! Models in several files: which files belong together, and their contents as one.

use std::collections::HashSet;

use super::gguf::twice;
use super::{Contents, Format, shown, wrong};
use crate::error::{Error, Result};

/// Keys by which GGUF says that a file is one of several.
pub(super) const NUMBER_KEY: &str = "split.no";
pub(super) const COUNT_KEY: &str = "split.count";
pub(super) const TENSORS_KEY: &str = "split.tensors.count";
/// More files than any model has.
pub(super) const PARTS_MAX: u64 = 9999;

/// How many files GGUF says there are; 1 if it says nothing.
pub(super) fn count(contents: &Contents) -> Result<u64> {
    let (file, at) = (&contents.parts[0].name, contents.place(COUNT_KEY));
    match contents.value(COUNT_KEY) {
        None => Ok(1),
        // Strings of safetensors say nothing about GGUF's parts, whatever their keys are.
        Some(_) if contents.format == Format::Safetensors => Ok(1),
        Some(value) => match value.as_u64() {
            Some(n) if (1..=PARTS_MAX).contains(&n) => Ok(n),
            Some(n) => {
                Err(wrong(file, at, COUNT_KEY, format_args!("is {n}, but files are 1 to {PARTS_MAX}")))
            }
            None => {
                Err(wrong(file, at, COUNT_KEY, format_args!("is no count but of type {}", value.type_name())))
            }
        },
    }
}

/// The contents of all the files of a model, in order, as one.
pub(super) fn join(parts: Vec<Contents>) -> Result<Contents> {
    let n = parts.len();
    let mut parts = parts.into_iter();
    let Some(mut all) = parts.next() else {
        return Err(Error::Argument("model: there are no files".into()));
    };
    check_number(&all, 0, n)?;
    let told = all.value(TENSORS_KEY).and_then(super::Value::as_u64);
    for (i, mut part) in parts.enumerate() {
        check_number(&part, i + 1, n)?;
        let file = part.parts[0].name.clone();
        if std::mem::discriminant(&part.format) != std::mem::discriminant(&all.format) {
            let what = format_args!("is {}, but the first file is {}", part.format, all.format);
            return Err(wrong(&file, 0, "format", what));
        }
        part.tensors.iter_mut().for_each(|t| t.part = i + 1);
        all.tensors.append(&mut part.tensors);
        all.parts.append(&mut part.parts);
        if all.format == Format::Safetensors {
            all.metadata.append(&mut part.metadata);
        }
    }
    if all.format == Format::Safetensors {
        // Of a key that several files have, the first counts. One look at each, since files may have very many.
        let mut known = HashSet::with_capacity(all.metadata.len());
        let new: Vec<bool> = all.metadata.iter().map(|(key, _)| known.insert(key.as_str())).collect();
        let mut new = new.into_iter();
        all.metadata.retain(|_| new.next().unwrap_or(true));
    }
    if let Some((first, again)) = twice(all.tensors.len(), |i| all.tensors[i].name.as_str()) {
        let [first, again] = [first, again].map(|i| &all.tensors[i]);
        let what = format_args!("is in {} as well", all.parts[first.part].name);
        let field = format_args!("tensor `{}`", shown(&again.name));
        return Err(wrong(&all.parts[again.part].name, again.range.start, field, what));
    }
    if let Some(told) = told
        && told != all.tensors.len() as u64
    {
        let what = format_args!("is {told}, but the {n} files hold {} tensors", all.tensors.len());
        return Err(wrong(&all.parts[0].name, all.place(TENSORS_KEY), TENSORS_KEY, what));
    }
    let mut sorted: Vec<usize> = (0..all.tensors.len()).collect();
    sorted.sort_unstable_by_key(|i| all.tensors[*i].name.as_str());
    all.sorted = sorted;
    Ok(all)
}

/// A GGUF file is the part that it says it is, of as many as are here.
fn check_number(part: &Contents, i: usize, n: usize) -> Result<()> {
    if part.format == Format::Safetensors {
        return Ok(());
    }
    let file = &part.parts[0].name;
    let count = count(part)?;
    if count != n as u64 {
        let what = format_args!("is {count}, but {n} files are given");
        return Err(wrong(file, part.place(COUNT_KEY), COUNT_KEY, what));
    }
    match part.value(NUMBER_KEY) {
        None if n == 1 => Ok(()),
        Some(value) if value.as_u64() == Some(i as u64) => Ok(()),
        found => {
            let found = found.and_then(super::Value::as_u64).map_or("no number".into(), |n| n.to_string());
            let what = format_args!("is {found}, but this is file {i} of {n}");
            Err(wrong(file, part.place(NUMBER_KEY), NUMBER_KEY, what))
        }
    }
}

/// The stem, number and count of a name as `model-00002-of-00005.gguf`.
pub(super) fn parse_name(name: &str) -> Option<(&str, u64, u64)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| {
        let plain = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    Some((stem, digits(number)?, digits(count)?))
}

/// The name of part `i`, from 0, of `n`.
pub(super) fn name(stem: &str, i: u64, n: u64) -> String {
    format!("{stem}-{:05}-of-{n:05}.gguf", i + 1)
}

/// What an index of safetensors says.
#[cfg(feature = "safetensors")]
pub(super) struct Index {
    /// The names of the files, in order.
    pub names: Vec<String>,
    /// The tensors, each with the file that it is said to lie in.
    pub tensors: Vec<(String, usize)>,
}

/// Where an index has this text in quotes after its map begins; 0 if it is written in another way.
#[cfg(feature = "safetensors")]
pub(super) fn quoted(index: &str, text: &str) -> u64 {
    let map = index.find("\"weight_map\"").unwrap_or(0);
    index[map..].find(&format!("\"{text}\"")).map_or(0, |at| (map + at) as u64)
}

/// Reads an index of safetensors. A name that is more than a plain file name is refused, so that an index leads
/// nowhere but beside itself.
#[cfg(feature = "safetensors")]
pub(super) fn index(file: &str, text: &str) -> Result<Index> {
    #[derive(serde::Deserialize)]
    struct Json {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let index: Json = serde_json::from_str(text).map_err(|e| {
        wrong(file, super::safetensors::place(text, e.line(), e.column()), "index", format_args!("{e}"))
    })?;
    let mut names: Vec<String> = index.weight_map.values().cloned().collect();
    names.sort_unstable();
    names.dedup();
    let plain = |n: &String| {
        let ordinary = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        n.len() <= 255 && n.ends_with(".safetensors") && !n.starts_with('.') && n.chars().all(ordinary)
    };
    if let Some(bad) = names.iter().find(|n| !plain(n)) {
        let what = format_args!("`{}` is no plain name of a safetensors file", shown(bad));
        return Err(wrong(file, quoted(text, bad), "weight_map", what));
    }
    if names.is_empty() || names.len() as u64 > PARTS_MAX {
        let n = names.len();
        return Err(wrong(
            file,
            0,
            "weight_map",
            format_args!("names {n} files, but there are 1 to {PARTS_MAX}"),
        ));
    }
    let at = |name: &String| names.binary_search(name).unwrap_or_default();
    let tensors = index.weight_map.iter().map(|(tensor, name)| (tensor.clone(), at(name))).collect();
    Ok(Index { names, tensors })
}

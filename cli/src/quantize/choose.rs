//! Which type each tensor gets, and why some keep theirs.

use tachylite::files::{Contents, Encoding, TensorInfo, TensorSpec, Value, quantize};
use tachylite::formats;

use crate::inspect::plain;

/// What becomes of a tensor.
#[derive(Debug)]
pub(super) struct Choice {
    pub encoding: &'static Encoding,
    /// Why it does not become what was asked for.
    pub why: Option<String>,
    /// Whether it is left out.
    pub dropped: bool,
}

/// A type for tensors by name.
#[derive(Debug)]
pub(super) struct Override {
    text: String,
    pattern: Vec<char>,
    to: To,
}

/// What becomes of tensors that are named.
#[derive(Debug)]
enum To {
    Type(&'static Encoding),
    Keep,
    Drop,
}

impl Override {
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((pattern, name)) = text.rsplit_once('=') else {
            return Err(format!("--override {text}: must be PATTERN=TYPE"));
        };
        let to = match name {
            "keep" => To::Keep,
            "drop" => To::Drop,
            _ => To::Type(made(name).map_err(|e| format!("--override {text}: {e}"))?),
        };
        Ok(Self { text: text.to_owned(), pattern: pattern.chars().collect(), to })
    }
}

/// Whether a pattern with `*` and `?` is all of a text.
fn matches(pattern: &[char], text: &[char]) -> bool {
    // Where to go on when what follows the last `*` does not fit: it takes one character more.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The type of that name, if files of it can be made.
pub(super) fn made(name: &str) -> Result<&'static Encoding, String> {
    if let Some(e) = Encoding::by_name(name).filter(|e| can_make(e)) {
        return Ok(e);
    }
    Err(format!("`{name}` is no type that is made; there are {}", all_made()))
}

/// The names of the types that files can be made of.
fn all_made() -> String {
    let all: Vec<_> =
        Encoding::ALL.iter().filter(|e| can_make(e)).map(|e| e.name.to_ascii_lowercase()).collect();
    all.join(", ")
}

/// What `--help` ends with.
pub(super) fn help() -> String {
    format!("Types: {}", all_made())
}

/// Whether there is a quantiser, which is asked by giving it a block.
fn can_make(e: &Encoding) -> bool {
    let floats = e.is_float() || e.block > 1;
    let made = |d: tachylite::DType| quantize(d, &vec![0.0; d.block()]).is_ok();
    floats && e.gguf.is_some() && e.dtype().is_some_and(made)
}

/// Why a tensor does not become this type; `None` if it does. Vectors are next to nothing, and what adds them up
/// reads no blocks: they become plain types, where those are asked for by name.
fn unfit(t: &TensorInfo, to: &Encoding, named: bool) -> Option<String> {
    let from = t.encoding;
    if from == to {
        return None;
    }
    if t.shape.len() < 2 && !(named && to.block == 1) {
        return Some("it has less than two axes".into());
    }
    if !from.is_float() && from.block == 1 {
        return Some("it does not hold floats".into());
    }
    if !from.is_float() && from.dtype().is_none() {
        return Some(format!("there is nothing yet that unpacks {from}"));
    }
    let last = t.shape.last().copied().unwrap_or(1);
    (!(last as u64).is_multiple_of(to.block))
        .then(|| format!("its last axis has {last} values, but a block of {to} has {}", to.block))
}

/// The type of smaller blocks that a tensor gets whose rows are no whole blocks of the one that was asked for all,
/// with why: llama.cpp's rule, see [`formats::fallback`]. None, where that is no smaller than what there is.
fn smaller(t: &TensorInfo, to: &Encoding) -> Option<(&'static Encoding, String)> {
    let last = t.shape.last().copied().unwrap_or(1);
    let dtype = formats::fallback(to.dtype()?, last);
    let instead = Encoding::by_name(dtype.name()).filter(|e| e.block > 1 && can_make(e))?;
    let is_smaller = instead.block_bytes * t.encoding.block < t.encoding.block_bytes * instead.block;
    (is_smaller && unfit(t, instead, false).is_none())
        .then(|| (instead, format!("{last} values are no whole blocks of {to}")))
}

/// What becomes of each tensor.
pub(super) fn choose(
    tensors: &[TensorInfo],
    to: &'static Encoding,
    overrides: &[Override],
) -> Result<Vec<Choice>, String> {
    // Of each override: whether a tensor has such a name, and why none becomes what it says.
    let mut unused = vec![Some("no tensor has such a name".to_owned()); overrides.len()];
    let mut choices = Vec::new();
    for t in tensors {
        let name: Vec<char> = t.name.chars().collect();
        let mut found = &To::Type(to);
        let mut named = false;
        for (o, unused) in overrides.iter().zip(&mut unused) {
            if !matches(&o.pattern, &name) {
                continue;
            }
            (found, named) = (&o.to, true);
            let why = if let To::Type(e) = o.to { unfit(t, e, true).map(|why| (e, why)) } else { None };
            *unused = match (unused.take(), why) {
                // What was asked for is not left out in silence: some tensor of that name becomes it.
                (Some(_), Some((e, why))) => Some(format!("`{}` cannot be {e}: {why}", plain(&t.name))),
                _ => None,
            };
        }
        let gets = |encoding| Choice { encoding, why: None, dropped: false };
        choices.push(match found {
            To::Keep => gets(t.encoding),
            To::Drop => Choice { dropped: true, ..gets(t.encoding) },
            To::Type(e) => match unfit(t, e, named) {
                None => gets(*e),
                Some(why) => match smaller(t, e).filter(|_| !named) {
                    Some((instead, why)) => Choice { why: Some(why), ..gets(instead) },
                    None => Choice { why: Some(why), ..gets(t.encoding) },
                },
            },
        });
    }
    if !choices.is_empty() && choices.iter().all(|c| c.dropped) {
        return Err("--override: every tensor would be dropped".into());
    }
    match overrides.iter().zip(unused).find_map(|(o, why)| Some((o, why?))) {
        Some((o, why)) => Err(format!("--override {}: {why}", o.text)),
        None => Ok(choices),
    }
}

/// llama.cpp's number of the type that most of a file has (`llama_ftype`); that of its `_S` mixtures for K-quants.
const FILE_TYPES: [(&str, u32); 18] = [
    ("F32", 0),
    ("F16", 1),
    ("Q4_0", 2),
    ("Q4_1", 3),
    ("Q8_0", 7),
    ("Q5_0", 8),
    ("Q5_1", 9),
    ("Q2_K", 10),
    ("Q3_K", 11),
    ("Q4_K", 14),
    ("Q5_K", 16),
    ("Q6_K", 18),
    ("IQ4_NL", 25),
    ("IQ4_XS", 30),
    ("BF16", 32),
    ("TQ1_0", 36),
    ("TQ2_0", 37),
    ("MXFP4", 38),
];

/// The type that most of these tensors have, as llama.cpp counts where a file does not say; of matrices, since
/// vectors are none of what is quantised. Of two that as many have, that of more bytes.
fn most(specs: &[TensorSpec]) -> Option<&'static Encoding> {
    let mut types: Vec<(&'static Encoding, u64, u64)> = Vec::new();
    for t in specs.iter().filter(|t| t.shape.len() > 1) {
        let bytes = t.encoding.byte_len(&t.shape).unwrap_or_default();
        match types.iter_mut().find(|(e, ..)| *e == t.encoding) {
            Some((_, n, all)) => (*n, *all) = (*n + 1, all.saturating_add(bytes)),
            None => types.push((t.encoding, 1, bytes)),
        }
    }
    types.into_iter().max_by_key(|(_, n, bytes)| (*n, *bytes)).map(|(e, ..)| e)
}

/// The metadata of a file made of another: without what says how that one was split and what types it had, and
/// with those of its own tensors.
pub(super) fn metadata(contents: &Contents, specs: &[TensorSpec]) -> Vec<(String, Value)> {
    let gone = |key: &str| {
        key.starts_with("split.") || ["general.file_type", "general.quantization_version"].contains(&key)
    };
    let mut all: Vec<_> = match contents.format() {
        tachylite::files::Format::Gguf { .. } => {
            contents.metadata().iter().filter(|(key, _)| !gone(key)).cloned().collect()
        }
        // Its strings are no keys of GGUF's, so they keep to themselves.
        _ => contents.metadata().iter().map(|(key, v)| (format!("safetensors.{key}"), v.clone())).collect(),
    };
    let most = most(specs);
    if let Some((_, number)) = FILE_TYPES.iter().find(|(name, _)| most.is_some_and(|e| e.name == *name)) {
        all.push(("general.file_type".into(), Value::U32(*number)));
    }
    all.push(("general.quantization_version".into(), Value::U32(2)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let is = |p: &str, t: &str| matches(&p.chars().collect::<Vec<_>>(), &t.chars().collect::<Vec<_>>());
        assert!(is("*", "") && is("*", "abc") && is("a*c", "ac") && is("a*c", "abcbc") && is("?b*", "abc"));
        assert!(is("blk.*.attn_?.weight", "blk.12.attn_q.weight") && is("", ""));
        assert!(!is("a*c", "abcd") && !is("?", "") && !is("a", "ab") && !is("*x*y", "xzyz") && !is("", "a"));
    }

    #[test]
    fn types_that_are_made_have_a_quantiser() {
        assert_eq!(made("Q8_0").unwrap().name, "Q8_0");
        assert!(made("i8").is_err() && made("u32").is_err());
        assert!(made("f8_e4m3").unwrap_err().contains("there are f32, f16, "));
        assert!(help().starts_with("Types: f32, f16, "));
    }

    #[test]
    fn a_file_is_called_by_what_most_of_its_matrices_are() {
        let spec = |name: &str, encoding: &str, shape: &[usize]| TensorSpec {
            name: name.into(),
            encoding: Encoding::by_name(encoding).unwrap(),
            shape: shape.to_vec(),
        };
        let mut all = vec![spec("embedding", "F32", &[9999, 64]), spec("norm", "F32", &[64])];
        all.extend(["q", "k", "v"].map(|name| spec(name, "Q8_0", &[64, 64])));
        all.extend(["a", "b", "c", "d"].map(|name| spec(name, "F32", &[64])));
        assert_eq!(most(&all).unwrap().name, "Q8_0");
        assert_eq!(most(&all[..3]).unwrap().name, "F32", "one of each: by bytes");
        assert!(most(&all[1..2]).is_none());
    }
}

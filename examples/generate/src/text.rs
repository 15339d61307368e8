//! Text and tokens: by `tokenizer.json` beside the model, or the vocabulary in a GGUF file where that is made of
//! bytes joined by merges; else tokens are numbers.

use std::path::Path;

use decoders::{Error, Result};
use serde_json::{Value as Json, json};
use tachylite::files::{Array, ModelFiles, Value};
use tokenizers::Tokenizer;

/// What turns text into tokens and back.
#[derive(Debug)]
pub struct Text {
    tokenizer: Option<Tokenizer>,
    /// Why there is none, or where it is from.
    about: String,
    /// Tokens that end a text.
    ends: Vec<u32>,
}

/// How texts are split before bytes are joined, by GGUF's names: they differ in how many digits go together.
const SPLITS: [(&str, &str); 2] = [("llama-bpe", r"\p{N}{1,3}"), ("qwen2", r"\p{N}")];

/// The whole expression, with its digits.
fn split_by(digits: &str) -> String {
    let words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+";
    let rest = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    format!("{words}|{digits}|{rest}")
}

impl Text {
    /// Of a model's folder or file.
    ///
    /// # Errors
    /// If there is a tokenizer that cannot be read.
    pub fn beside(path: &Path, vocabulary: usize) -> Result<Self> {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
        let file = folder.join("tokenizer.json");
        if file.exists() {
            let cannot = |e: &dyn std::fmt::Display| Error::new(format!("{}: {e}", file.display()));
            let bytes = std::fs::read(&file).map_err(|e| cannot(&e))?;
            let tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| cannot(&e))?;
            let ends = ends_in_config(folder);
            let about = format!("tokens by {}", file.display());
            return Ok(Self { tokenizer: Some(tokenizer), about, ends });
        }
        if path.is_dir() {
            return Ok(Self::ids_only("there is no tokenizer.json"));
        }
        Self::of_gguf(path, vocabulary)
    }

    /// Tokens are numbers, and why.
    pub fn ids_only(why: &str) -> Self {
        Self { tokenizer: None, about: format!("tokens are numbers: {why}"), ends: Vec::new() }
    }

    fn of_gguf(path: &Path, vocabulary: usize) -> Result<Self> {
        let files = ModelFiles::open(path)?;
        let value = |key: &str| files.contents().value(&format!("tokenizer.ggml.{key}"));
        let name = |key: &str| value(key).and_then(Value::as_str).unwrap_or("none");
        let (kind, split) = (name("model"), name("pre"));
        let known = SPLITS.iter().find(|(pre, _)| *pre == split).filter(|_| kind == "gpt2");
        let Some((_, digits)) = known else {
            let why = format!(
                "vocabulary `{kind}` with `{split}` is not known; a tokenizer.json beside the file is"
            );
            return Ok(Self::ids_only(&why));
        };
        let strings = |key: &str| match value(key) {
            Some(Value::Array(Array::String(all))) => Ok(all),
            _ => Err(Error::new(format!("the file has no texts `tokenizer.ggml.{key}`"))),
        };
        let (tokens, merges) = (strings("tokens")?, strings("merges")?);
        if tokens.len() > vocabulary {
            return Err(Error::new(format!(
                "{} tokens have names, but the model has {vocabulary}",
                tokens.len()
            )));
        }
        let types = match value("token_type") {
            Some(Value::Array(Array::I32(types))) => types.as_slice(),
            _ => &[],
        };
        let first = value("bos_token_id").and_then(Value::as_u64);
        let starts = matches!(value("add_bos_token"), Some(Value::Bool(true)))
            || value("add_bos_token").is_none() && name("pre") == "llama-bpe";
        let json = tokenizer_json(tokens, merges, types, &split_by(digits), first.filter(|_| starts));
        let tokenizer = Tokenizer::from_bytes(json.to_string());
        let tokenizer = tokenizer.map_err(|e| Error::new(format!("the file's vocabulary: {e}")))?;
        let ends = ["eos_token_id", "eot_token_id"].iter().filter_map(|key| value(key)?.as_u64());
        let ends = ends.filter_map(|id| u32::try_from(id).ok()).collect();
        Ok(Self { tokenizer: Some(tokenizer), about: "tokens by the file's vocabulary".into(), ends })
    }

    /// Where tokens are from.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Whether a token ends the text.
    pub fn ends(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The tokens of a text; or, without a tokenizer, of numbers with commas. Text without a digit is then as many
    /// numbers as it has bytes.
    ///
    /// # Errors
    /// If the tokenizer fails, or what looks like numbers is none.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        if let Some(tokenizer) = &self.tokenizer {
            let encoding = tokenizer.encode(text, true);
            return Ok(encoding.map_err(|e| Error::new(format!("tokenizer: {e}")))?.get_ids().to_vec());
        }
        if !text.contains(|c: char| c.is_ascii_digit()) {
            return Ok(text.bytes().map(u32::from).collect());
        }
        let number = |n: &str| {
            let none = || format!("there is no tokenizer, so tokens are numbers, as 1,2,3; `{n}` is none");
            n.trim().parse().map_err(|_| Error::new(none()))
        };
        text.split(',').map(number).collect()
    }

    /// The text of tokens; or their numbers.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn text(&self, ids: &[u32]) -> Result<String> {
        match &self.tokenizer {
            Some(tokenizer) => tokenizer.decode(ids, true).map_err(|e| Error::new(format!("tokenizer: {e}"))),
            None => Ok(ids.iter().map(|id| format!("{id} ")).collect()),
        }
    }
}

/// Tokens that end a text, by the model's configuration.
fn ends_in_config(folder: &Path) -> Vec<u32> {
    let read = |name: &str| -> Option<Json> {
        serde_json::from_str(&std::fs::read_to_string(folder.join(name)).ok()?).ok()
    };
    let ends = ["generation_config.json", "config.json"]
        .iter()
        .find_map(|name| read(name)?.get("eos_token_id").cloned());
    let number = |v: &Json| v.as_u64().and_then(|id| u32::try_from(id).ok());
    match ends {
        Some(Json::Array(all)) => all.iter().filter_map(number).collect(),
        Some(one) => number(&one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A vocabulary as `tokenizer.json` would have it.
fn tokenizer_json(
    tokens: &[String],
    merges: &[String],
    types: &[i32],
    split: &str,
    first: Option<u64>,
) -> Json {
    /// What GGUF calls tokens that stand for no text, and those that users added.
    const CONTROL: i32 = 3;
    const ADDED: i32 = 4;
    let vocabulary: serde_json::Map<String, Json> =
        (0..).zip(tokens).map(|(id, token): (u32, _)| (token.clone(), json!(id))).collect();
    let kind = |id: usize| types.get(id).copied().unwrap_or(1);
    let added: Vec<Json> = tokens
        .iter()
        .enumerate()
        .filter(|(id, _)| matches!(kind(*id), CONTROL | ADDED))
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": kind(id) == CONTROL})
        })
        .collect();
    let after = first.and_then(|id| tokens.get(id as usize).map(|token| (id, token)));
    let after = after.map(|(id, token)| {
        json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {token.as_str(): {"id": token, "ids": [id], "tokens": [token]}}})
    });
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": false},
            bytes,
        ]},
        "post_processor": after,
        "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges, "ignore_merges": true,
            "byte_fallback": false, "fuse_unk": false},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_joins_bytes_by_its_merges_and_starts_as_it_says() {
        let words = ["h", "i", "Ġ", "hi", "Ġhi", "<s>"].map(String::from);
        let merges = ["h i", "Ġ hi"].map(String::from);
        let json = tokenizer_json(&words, &merges, &[1, 1, 1, 1, 1, 3], &split_by(SPLITS[0].1), Some(5));
        let tokenizer = Tokenizer::from_bytes(json.to_string()).unwrap();
        let text = Text { tokenizer: Some(tokenizer), about: String::new(), ends: vec![5] };
        assert_eq!(text.ids("hi hi").unwrap(), [5, 3, 4]);
        assert_eq!(text.text(&[5, 3, 4]).unwrap(), "hi hi");
    }

    #[test]
    fn without_one_tokens_are_numbers() {
        let text = Text::ids_only("of a test");
        assert_eq!(text.ids("3, 14,15").unwrap(), [3, 14, 15]);
        assert_eq!(text.text(&[3, 14]).unwrap(), "3 14 ");
        assert_eq!(text.about(), "tokens are numbers: of a test");
    }
}

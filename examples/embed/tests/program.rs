//! The program's manners: what it says, and how it ends, when something is wrong. Needs no model.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A tokenizer that knows one word.
const TOKENIZER: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "vocab": {"word": 0}, "unk_token": "word"}}"#;

/// A folder that is removed when the test is done.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("embed-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.0.join(name), bytes).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A safetensors file with one tensor, all zeros.
fn safetensors(name: &str, dtype: &str, shape: &[usize]) -> Vec<u8> {
    let bytes = shape.iter().product::<usize>() * if dtype == "F16" { 2 } else { 4 };
    let header =
        format!(r#"{{"{name}": {{"dtype": "{dtype}", "shape": {shape:?}, "data_offsets": [0, {bytes}]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes, 0);
    file
}

fn embed(model: &Path, options: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_embed"))
        .arg("--model")
        .arg(model)
        .args(options)
        .env("XDG_RUNTIME_DIR", std::env::temp_dir()) // Mesa writes to stderr without one
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input); // it may end before it reads
    child.wait_with_output().unwrap()
}

/// Runs it where it must fail, and returns its one sentence.
fn complaint(model: &Path, options: &[&str], input: &[u8]) -> String {
    let output = embed(model, options, input);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.strip_prefix("embed: ").unwrap_or_else(|| panic!("{text}")).trim_end().to_owned()
}

#[test]
fn a_folder_or_file_that_is_missing_is_named() {
    let said = complaint(Path::new("/nowhere/minilm"), &["--json"], b"text\n");
    assert!(said.starts_with("there is no folder `/nowhere/minilm` with the model"), "{said}");
    let folder = Folder::new("empty");
    let said = complaint(&folder.0, &[], b"");
    assert!(said.starts_with("there is no `tokenizer.json` in `"), "{said}");
    let folder = folder.file("tokenizer.json", TOKENIZER);
    let said = complaint(&folder.0, &[], b"");
    assert!(said.starts_with("there is no `model.safetensors` in `"), "{said}");
}

#[test]
fn a_file_that_is_something_else_is_named() {
    let folder = Folder::new("broken").file("tokenizer.json", "{}").file("model.safetensors", "?");
    let said = complaint(&folder.0, &[], b"");
    assert!(said.starts_with("tokenizer.json: "), "{said}");
    let folder = folder.file("tokenizer.json", TOKENIZER);
    let said = complaint(&folder.0, &[], b"");
    assert!(said.starts_with("model.safetensors: "), "{said}");
}

#[test]
fn a_tensor_that_is_missing_or_misshapen_is_named() {
    const WORDS: &str = "embeddings.word_embeddings.weight";
    let cases = [
        (safetensors("x", "F32", &[1]), format!("model.safetensors: there is no tensor `{WORDS}`")),
        (
            safetensors(WORDS, "F32", &[7, 384]),
            format!("model.safetensors: `{WORDS}` has shape [7, 384], but all-MiniLM-L6-v2 has [30522, 384]"),
        ),
        (
            safetensors(WORDS, "I32", &[1]),
            format!("model.safetensors: `{WORDS}` is I32, which no such weight is"),
        ),
        (
            safetensors(WORDS, "F32", &[30522, 384]),
            "model.safetensors: there is no tensor `embeddings.position_embeddings.weight`".to_owned(),
        ),
    ];
    let mut folder = Folder::new("tensors").file("tokenizer.json", TOKENIZER);
    for (file, expected) in cases {
        folder = folder.file("model.safetensors", file);
        assert_eq!(complaint(&folder.0, &["--json"], b"text\n"), expected);
    }
}

#[test]
fn a_type_that_nobody_makes_is_named_with_those_that_are_made() {
    for option in ["--weights", "--tables"] {
        let output = embed(Path::new("/nowhere"), &[option, "iq2_s"], b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("`iq2_s` can be read from a file, but not made; there are f32 f16 bf16"),
            "{said}"
        );
    }
    let said = complaint(Path::new("/nowhere"), &["--compare", "q8_0,q9"], b"");
    assert!(said.starts_with("`q9` is no type of weights; there are f32"), "{said}");
    let said = complaint(Path::new("/nowhere"), &["--compare", "--device", "cpu"], b"");
    assert_eq!(said, "`cpu` has no speed to compare: it evaluates the graph in f64");
}

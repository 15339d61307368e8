//! Where the model and the expected values lie, and what was expected.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};

/// One sentence of the conformance suite.
#[derive(Debug)]
pub struct Case {
    pub text: String,
    pub ids: Vec<u32>,
    /// The published weights, in f64.
    pub embedding: Vec<f64>,
    /// The 36 linear weights through `Q8_0` and back.
    pub embedding_q8_0: Vec<f64>,
}

/// Says something to whoever reads only the summary: past the harness's capture.
pub fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").unwrap();
}

/// The folder with the model and the sentences; `None`, said aloud, where one is absent. A machine
/// that must not skip this sets `TACHYLITE_REQUIRE=model`.
pub fn suite(test: &str) -> Option<(PathBuf, Vec<Case>)> {
    let found = model_folder().and_then(|model| Ok((model, cases()?)));
    match found {
        Ok(found) => Some(found),
        Err(missing) => {
            let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
            assert!(
                !required.split(',').any(|r| r == "model"),
                "{test}: {missing}, and TACHYLITE_REQUIRE asks for it"
            );
            say(&format!("SKIPPED {test} (no model): {missing}"));
            None
        }
    }
}

fn model_folder() -> Result<PathBuf, String> {
    let folder = std::env::var_os("TACHYLITE_MINILM").ok_or("TACHYLITE_MINILM is not set")?;
    let folder = PathBuf::from(folder);
    if folder.is_dir() { Ok(folder) } else { Err(format!("there is no folder {}", folder.display())) }
}

fn cases() -> Result<Vec<Case>, String> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let folder = std::env::var_os("TACHYLITE_CONFORMANCE").map_or(beside, PathBuf::from).join("minilm");
    let read = |file: &str| {
        let path = folder.join(file);
        std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let manifest: serde_json::Value = serde_json::from_slice(&read("cases.json")?).unwrap();
    let bytes = read("expected.safetensors")?;
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: BTreeMap<_, _> = tensors.tensors().into_iter().collect();
    let case = |case: &serde_json::Value| {
        let f64s = |key: &str| -> Vec<f64> {
            let view = &tensors[case[key].as_str().unwrap()];
            assert_eq!(view.dtype(), Dtype::F64);
            view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let ids = &tensors[case["ids"].as_str().unwrap()];
        assert_eq!(ids.dtype(), Dtype::I32);
        Case {
            text: case["text"].as_str().unwrap().to_owned(),
            ids: ids.data().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect(),
            embedding: f64s("embedding"),
            embedding_q8_0: f64s("embedding_q8_0"),
        }
    };
    Ok(manifest["cases"].as_array().unwrap().iter().map(case).collect())
}

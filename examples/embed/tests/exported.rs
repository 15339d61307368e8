//! The encoder as exported files, run by `web/runner.js` on Dawn in Node and in headless Chromium: the
//! published embeddings, within what this library's own executor is held to.

use std::path::{Path, PathBuf};
use std::process::Command;

mod common;

use common::{Case, say, suite};

/// Lines up to this many tokens share batches of 8.
const SHORT: usize = 64;

struct Exported(PathBuf);

impl Exported {
    fn new(model: &Path, place: &str, weights: &str) -> Self {
        let name = format!("tachylite-exported-{}-{place}-{weights}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let exported = Self(folder);
        let mut embed = Command::new(env!("CARGO_BIN_EXE_embed"));
        embed
            .arg("--model")
            .arg(model)
            .args(["--weights", weights, "--tables", "f32"])
            .arg("--export")
            .arg(exported.file("minilm.json"));
        let output = embed.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let again = embed.output().unwrap();
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(!again.status.success() && said.trim_end().ends_with("is there already"), "{said}");
        exported
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Exported {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the sentences, and holds every number against what was expected.
fn run(place: &str, weights: &str, expected: fn(&Case) -> &Vec<f64>, allowed: f64) {
    let test = format!("exported, {weights}, {place}");
    let Some((model, cases)) = suite(&test) else { return };
    let exported = Exported::new(&model, place, weights);
    let (short, long): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|c| c.ids.len() <= SHORT);
    let batches: Vec<Vec<&Case>> = short.chunks(8).chain(long.chunks(1)).map(<[&Case]>::to_vec).collect();
    let ids: Vec<Vec<&[u32]>> =
        batches.iter().map(|b| b.iter().map(|c| c.ids.as_slice()).collect()).collect();
    std::fs::write(exported.file("batches.json"), serde_json::to_string(&ids).unwrap()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/web/encode.mjs");
    let files = ["minilm.json", "minilm.safetensors", "batches.json"].map(|f| exported.file(f));
    let mut node = Command::new("node");
    // Dawn takes no adapter of old Mesas.
    if let (Ok(icd), Err(_)) = (std::env::var("TACHYLITE_SWIFTSHADER_ICD"), std::env::var("VK_DRIVER_FILES"))
    {
        node.env("VK_DRIVER_FILES", &icd).env("VK_ICD_FILENAMES", &icd);
    }
    let output = match node.arg(script).arg(place).args(files).output() {
        Ok(output) => output,
        Err(e) => return skip(&test, place, &e.to_string()),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let absent = ["there is no npm package", "there is no browser", "there is no WebGPU adapter"];
        match absent.iter().find(|a| said.contains(**a)) {
            Some(absent) => return skip(&test, place, absent),
            None => panic!("{test}: {said}"),
        }
    }
    let rows: Vec<Vec<f64>> = serde_json::from_slice(&output.stdout).unwrap();
    let cases: Vec<_> = batches.into_iter().flatten().collect();
    assert_eq!(rows.len(), cases.len());
    let mut worst = 0f64;
    for (row, case) in rows.iter().zip(cases) {
        let expected = expected(case);
        assert_eq!(row.len(), expected.len());
        let error = row.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error <= allowed, "{test}: {error:e} in {:?}", case.text);
        worst = worst.max(error);
    }
    say(&format!("{test}: {} sentences, worst error {worst:.1e}", rows.len()));
}

/// A machine that must not skip this sets `TACHYLITE_REQUIRE=node,chromium`.
fn skip(test: &str, place: &str, why: &str) {
    let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|r| r == place),
        "{test}: {why}, and TACHYLITE_REQUIRE asks for {place}"
    );
    say(&format!("SKIPPED {test}: {why}"));
}

#[test]
fn minilm_in_node() {
    run("node", "f32", |c| &c.embedding, 1e-5);
}

/// Its plan needs a feature of WGSL, which the runner asks the target for.
#[test]
fn minilm_with_q8_0_weights_in_node() {
    run("node", "q8_0", |c| &c.embedding_q8_0, 1e-4);
}

#[test]
fn minilm_in_chromium() {
    run("chromium", "f32", |c| &c.embedding, 1e-5);
}

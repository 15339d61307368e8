//! Suites of cases as folders: a JSON manifest with one `.safetensors` beside it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::data::{Data, read};

/// The formats that are known, each by a name that its manifest gives away.
const KINDS: [(&str, &[&str]); 5] = [
    ("attention", &["sdpa", "varlen", "paged_decode"]),
    ("misc", &["norms", "softmax", "activations", "glu", "rope", "topk", "cross_entropy", "matmul_nt"]),
    ("quant", &["w8a8_dynamic", "w8a8_asym_dynamic", "groupwise_matmul", "sparse24_matmul", "kl_distill"]),
    ("rwkv7", &["wkv7", "rwkv7_time_mix", "rwkv7_channel_mix"]),
    ("onnx", &[]),
];

/// A suite, read.
#[derive(Debug)]
pub(super) struct Suite {
    /// Which of the formats it has, which is its name in reports.
    pub format: &'static str,
    /// Its tensors.
    pub data: Data,
    /// Its cases.
    pub cases: Vec<Spec>,
}

/// A case as its manifest has it.
#[derive(Debug)]
pub(super) struct Spec {
    /// `<suite>/<name>`.
    pub name: String,
    /// The op or the kind of case.
    pub op: String,
    /// Everything else.
    pub json: Value,
}

/// Reads a suite, or every suite in a folder; and names the folders that are no suites of ops.
pub(super) fn read_all(dir: &Path) -> Result<(Vec<Suite>, Vec<String>), String> {
    let at = |e: std::io::Error| format!("{}: {e}", dir.display());
    if manifest(dir).is_some() {
        let suite = read_suite(dir)?;
        let suite = suite.ok_or_else(|| format!("{}: its manifest is no suite of ops", dir.display()))?;
        return Ok((vec![suite], Vec::new()));
    }
    let entries = std::fs::read_dir(dir).map_err(at)?;
    let mut folders = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(at)?;
    folders.retain(|f| manifest(f).is_some());
    folders.sort();
    let (mut suites, mut ignored) = (Vec::new(), Vec::new());
    for folder in folders {
        match read_suite(&folder)? {
            Some(suite) => suites.push(suite),
            None => ignored.push(folder.display().to_string()),
        }
    }
    if suites.is_empty() {
        let wanted = "no suite: a folder with cases.json or manifest.json and its tensors";
        return Err(format!("{}: {wanted}", dir.display()));
    }
    // Cases are asked for by name.
    let mut names: Vec<&str> = suites.iter().flat_map(|s| &s.cases).map(|c| c.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|w| w[0] == w[1]) {
        Some(twice) => Err(format!("{}: there are two cases `{}`", dir.display(), twice[0])),
        None => Ok((suites, ignored)),
    }
}

fn manifest(dir: &Path) -> Option<PathBuf> {
    ["cases.json", "manifest.json"].iter().map(|f| dir.join(f)).find(|f| f.is_file())
}

/// `None` if the manifest is not one of a suite of ops.
fn read_suite(dir: &Path) -> Result<Option<Suite>, String> {
    let path = manifest(dir).ok_or_else(|| format!("{}: no manifest", dir.display()))?;
    let wrong = |what: String| format!("{}: {what}", path.display());
    let json: Value = serde_json::from_slice(&read(&path)?).map_err(|e| wrong(e.to_string()))?;
    let (format, cases) = match (json.get("types"), json.get("cases")) {
        (Some(types), _) => ("gguf", types_of(types).map_err(wrong)?),
        (None, Some(cases)) => {
            let list = cases.as_array().ok_or_else(|| wrong("cases: must be a list".into()))?;
            let Some(format) = format_of(&json, list) else { return Ok(None) };
            (format, cases_of(format, list).map_err(wrong)?)
        }
        (None, None) => return Err(wrong("it has neither `cases` nor `types`".into())),
    };
    let file = json.get("tensors_file").and_then(Value::as_str);
    let file = file.ok_or_else(|| wrong("tensors_file: must be a file's name".into()))?;
    if Path::new(file).components().count() != 1 || file == ".." {
        return Err(wrong(format!("tensors_file: `{file}` must be the name of a file beside it")));
    }
    let data = Data::open(&dir.join(file))?;
    Ok(Some(Suite { format, data, cases }))
}

fn format_of(json: &Value, cases: &[Value]) -> Option<&'static str> {
    if json.get("onnx_version").is_some() {
        return Some("onnx");
    }
    let kind = cases.first()?.get("kind")?.as_str()?;
    KINDS.iter().find(|(_, kinds)| kinds.contains(&kind)).map(|(format, _)| *format)
}

fn cases_of(format: &str, list: &[Value]) -> Result<Vec<Spec>, String> {
    let field = if format == "onnx" { "op" } else { "kind" };
    let text = |i: usize, case: &Value, name: &str| match case.get(name).and_then(Value::as_str) {
        Some(text) if !text.is_empty() && !text.contains(char::is_control) => Ok(text.to_owned()),
        _ => Err(format!("cases[{i}].{name}: must be text on one line")),
    };
    let spec = |(i, case): (usize, &Value)| {
        let (name, op) = (text(i, case, "name")?, text(i, case, field)?);
        Ok(Spec { name: format!("{format}/{name}"), op, json: case.clone() })
    };
    list.iter().enumerate().map(spec).collect()
}

/// Each type of blocks has up to three cases.
fn types_of(types: &Value) -> Result<Vec<Spec>, String> {
    let types = types.as_object().ok_or("types: must be an object")?;
    let mut cases = Vec::new();
    for (name, json) in types {
        for op in ["dequantise", "matmul", "quantise"] {
            if op == "dequantise" || json.get(op).is_some_and(|v| !v.is_null()) {
                let mut json = json.clone();
                if let Some(fields) = json.as_object_mut() {
                    fields.insert("type".into(), name.clone().into());
                }
                cases.push(Spec { name: format!("gguf/{name}/{op}"), op: op.into(), json });
            }
        }
    }
    Ok(cases)
}

//! The rules of the house that a machine can count.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of ours with one of these endings.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<_> =
        ["src", "shaders", "web", "cli", "examples", "tests", "benches"].map(|f| root().join(f)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| endings.iter().any(|n| e == *n)) {
                found.push((name(&path), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 5);
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/")
}

#[test]
fn files_functions_and_lines_are_short() {
    let mut wrong = Vec::new();
    for (file, text) in files(&["rs", "wgsl", "js", "mjs", "html"]) {
        let lines: Vec<_> = text.lines().collect();
        if lines.len() > 400 {
            wrong.push(format!("{file} has {} lines", lines.len()));
        }
        for (i, line) in lines.iter().enumerate() {
            if line.chars().count() > 115 {
                wrong.push(format!("{file}:{} has {} columns", i + 1, line.chars().count()));
            }
            // A function ends at the first brace that stands where its own line begins.
            let indent = line.len() - line.trim_start().len();
            let head = line.trim_start();
            let head = ["pub ", "pub(crate) ", "pub(super) ", "export ", "async ", "const "]
                .iter()
                .fold(head, |head, word| head.strip_prefix(word).unwrap_or(head));
            if ["fn ", "function "].iter().any(|b| head.starts_with(b)) && !head.ends_with('}') {
                let end = format!("{}}}", " ".repeat(indent));
                let length = lines[i..].iter().position(|l| *l == end).unwrap_or(0);
                let limit = if file.ends_with(".wgsl") { 130 } else { 70 };
                if length > limit {
                    wrong.push(format!("{file}:{} is a function of {length} lines", i + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// WGSL clears a variable without a value each time it is reached; Dawn's Tint (in webgpu 0.6.2 for Node, and in
/// Chromium) leaves it in a loop as the iteration before did. So what is first done with one there is writing it.
#[test]
fn variables_in_loops_are_written_before_they_are_read() {
    let mut wrong = Vec::new();
    for (file, text) in files(&["wgsl"]) {
        let lines: Vec<_> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let declared = line.strip_prefix("        ").map(str::trim_start);
            let Some((name, _)) = declared.and_then(|l| l.strip_prefix("var ")?.split_once(':')) else {
                continue;
            };
            if line.contains('=') || !is_read_first(name, &lines[i + 1..]) {
                continue;
            }
            wrong.push(format!("{file}:{}: `{name}` needs a value", i + 1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(is_read_first("acc", &["acc[i] = fma(x, y, acc[i]);"]) && is_read_first("n", &["n += 1u;"]));
    assert!(!is_read_first("n", &["let nn = 1u;", "n[c][k] = nn;"]));
}

/// Whether the first line that has a name does other things with it than giving it a value.
fn is_read_first(name: &str, lines: &[&str]) -> bool {
    let has = |text: &str| text.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == name);
    let Some(first) = lines.iter().find(|l| has(l)) else { return false };
    let Some((to, value)) = first.split_once(" = ") else { return true };
    !to.trim_start().starts_with(name) || has(value)
}

#[test]
fn rooms_keep_to_themselves() {
    for (file, text) in files(&["rs"]) {
        if !file.starts_with("src/") {
            continue;
        }
        let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        let in_gpu = file.starts_with("src/gpu") || file == "src/lib.rs";
        assert!(in_gpu || !code.contains("wgpu::"), "{file} names wgpu");
        assert!(in_gpu || !code.contains("unsafe "), "{file} is unsafe");
        assert!(!code.contains("env::var"), "{file} reads the environment");
    }
}

#[test]
fn shaders_and_ops_agree() {
    let shaders: Vec<_> =
        files(&["wgsl"]).into_iter().map(|(f, _)| f).filter(|f| f.starts_with("shaders/")).collect();
    let sources: String =
        files(&["rs"]).into_iter().filter(|(f, _)| f.starts_with("src/")).map(|(_, t)| t).collect();
    for shader in shaders {
        let file =
            shader.trim_start_matches("shaders/").trim_start_matches("lib/").trim_start_matches("probe/");
        assert!(sources.contains(&format!("{file}\"")), "{shader} is used by nothing");
    }
    for op in tachylite::ops::ALL {
        for kernel in op.kernels {
            let (stem, _) = kernel.name.split_once('.').expect("a kernel is `<op>.<idea>`");
            let shared = ["elementwise", "copy", "softmax"].contains(&stem);
            assert!(stem == op.name || shared, "{} is a kernel of {}", kernel.name, op.name);
            // Products by slices are matmul.vector's text, which asks where a column's slice of x lies.
            let text = if stem == "matmul_slices" { "matmul_vector" } else { stem };
            assert!(kernel.file.starts_with(text), "{} lies in {}", kernel.name, kernel.file);
        }
    }
}

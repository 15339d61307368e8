//! `check --cases` as people meet it: exit codes, messages and JSON, on suites that these tests make, and on
//! the real ones where they are there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::serialize_to_file;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

/// A suite in a folder of its own, removed at the end.
struct Suite(PathBuf);

impl Drop for Suite {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Suite {
    /// Nodes of ONNX with one input of three numbers and what is expected: name, op, input, output.
    fn new(name: &str, nodes: &[(&str, &str, [f32; 3], [f32; 3])]) -> Self {
        let dir = std::env::temp_dir().join(format!("tachylite-cases-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let reference = |key: &str| json!({ "tensor": key, "dtype": "f32", "shape": [3] });
        let cases: Vec<_> = nodes
            .iter()
            .map(|(name, op, ..)| {
                json!({
                    "name": name, "op": op, "since_version": 14, "attributes": {},
                    "inputs": [reference(&format!("{name}.in"))],
                    "outputs": [reference(&format!("{name}.out"))],
                    "rtol": 1e-3, "atol": 1e-7,
                })
            })
            .collect();
        let bytes = |v: &[f32; 3]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let tensors: Vec<(String, Vec<u8>)> = nodes
            .iter()
            .flat_map(|(name, _, x, y)| [(format!("{name}.in"), bytes(x)), (format!("{name}.out"), bytes(y))])
            .collect();
        let views = tensors.iter().map(|(k, b)| (k, TensorView::new(Dtype::F32, vec![3], b).unwrap()));
        serialize_to_file(views, None, &dir.join("t.safetensors")).unwrap();
        let suite = Self(dir);
        suite.manifest(&json!({ "onnx_version": "1", "tensors_file": "t.safetensors", "cases": cases }));
        suite
    }

    fn manifest(&self, json: &Value) {
        std::fs::write(self.0.join("cases.json"), json.to_string()).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

fn check(dir: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tachylite"));
    command.args(["check", "--cases", dir, "--adapter", "gpu"]).args(more).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether there was no adapter, which the tests of CI may not say.
fn skipped(output: &Output) -> bool {
    let none = output.status.code() == Some(2) && stderr(output).contains("there is no adapter");
    if none {
        let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
        assert!(!required.contains("mesa22"), "TACHYLITE_REQUIRE asks for mesa22");
        eprintln!("SKIPPED: there is no adapter");
    }
    none
}

const X: [f32; 3] = [-1.0, 0.5, 2.0];

#[test]
fn a_case_passes_a_wrong_value_fails_and_what_no_list_names_fails_too() {
    let suite = Suite::new(
        "mixed",
        &[
            ("right", "Relu", X, [0.0, 0.5, 2.0]),
            ("wrong", "Relu", X, [0.0, 0.5, 2.5]),
            ("unlisted", "Frobnicate", X, X),
            ("listed", "Sin", X, X),
        ],
    );
    let file = suite.0.join("report.json");
    let output = check(suite.path(), &["--json", file.to_str().unwrap()]);
    if skipped(&output) {
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    for says in [
        "checking 4 cases on gpu",
        "FAILED  onnx/wrong on ",
        "`out0`: element 2 is 2.0, but 2.5 ± 2.500e-3 is expected; bad: 1 of 3",
        "reference: `out0` of our CPU kernel: element 2 is 2.0, but 2.5",
        &format!("again: tachylite check --cases '{}' --case 'onnx/wrong' --adapter ", suite.path()),
        "unsupported, and not on the list of what is: there is no op `Frobnicate`",
        "unsupported, onnx, 1 times: there is no op `Sin` (Sin)",
    ] {
        assert!(text.contains(says), "{says}\n{text}");
    }
    let json: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(json["summary"], json!({ "pass": 1, "fail": 2, "unsupported": 1, "expected_failure": 0 }));
    let row = |name: &str| json["rows"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap();
    assert_eq!((&row("right")["status"], &row("right")["error"]), (&json!("pass"), &json!(0.0)));
    assert_eq!((&row("wrong")["status"], &row("wrong")["error"]), (&json!("fail"), &json!(0.5)));
    assert_eq!(row("listed")["status"], "unsupported");
    assert_eq!(row("listed")["reason"], "there is no op `Sin`");
    assert_eq!((row("right")["suite"].as_str(), row("right")["op"].as_str()), (Some("onnx"), Some("Relu")));
    assert!(row("right")["adapter"].as_str().unwrap().contains(':'));
}

#[test]
fn everything_right_is_code_0_and_a_part_of_a_name_chooses() {
    let suite =
        Suite::new("chosen", &[("right", "Relu", X, [0.0, 0.5, 2.0]), ("wrong", "Relu", X, [0.0, 0.5, 2.5])]);
    let output = check(suite.path(), &["--case", "right"]);
    if skipped(&output) {
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let list = stdout(&check(suite.path(), &["--list"]));
    assert_eq!(list, "onnx/right\nonnx/wrong\n");
    let output = check(suite.path(), &["--case", "neither"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("there is no case `neither`"), "{}", stderr(&output));
}

#[test]
fn broken_suites_are_one_sentence_with_the_file() {
    let says = |suite: &Suite, what: &str| {
        let output = check(suite.path(), &[]);
        assert_eq!(output.status.code(), Some(2), "{what}");
        let text = stderr(&output);
        assert!(text.contains(what) && text.lines().count() == 1, "{what}: {text}");
    };
    let suite = Suite::new("broken", &[("right", "Relu", X, [0.0, 0.5, 2.0])]);
    std::fs::write(suite.0.join("t.safetensors"), b"\xff\xff\xff\xff\xff\xff\xff\x7f{}").unwrap();
    says(&suite, "t.safetensors: not a safetensors file: ");
    std::fs::remove_file(suite.0.join("t.safetensors")).unwrap();
    says(&suite, "t.safetensors: ");
    let manifest =
        |cases: Value, file: &str| json!({ "onnx_version": "1", "tensors_file": file, "cases": cases });
    suite.manifest(&manifest(json!([]), "../elsewhere.safetensors"));
    says(&suite, "cases.json: tensors_file: `../elsewhere.safetensors` must be the name of a file beside it");
    suite.manifest(&manifest(json!([{ "op": "Relu" }]), "t.safetensors"));
    says(&suite, "cases.json: cases[0].name: must be text on one line");
    suite.manifest(&json!({ "cases": 3 }));
    says(&suite, "cases.json: cases: must be a list");
    std::fs::write(suite.0.join("cases.json"), "{\"cases\": [").unwrap();
    says(&suite, "cases.json: EOF while parsing");
    std::fs::remove_file(suite.0.join("cases.json")).unwrap();
    says(&suite, "no suite: a folder with cases.json or manifest.json");
}

#[test]
fn a_case_that_its_file_contradicts_fails_and_the_others_run() {
    let suite = Suite::new("liar", &[("right", "Relu", X, [0.0, 0.5, 2.0]), ("liar", "Relu", X, X)]);
    let path = suite.0.join("cases.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    json["cases"][1]["inputs"][0]["shape"] = json!([4_000_000_000_u64, 4_000_000_000_u64]);
    suite.manifest(&json);
    let output = check(suite.path(), &[]);
    if skipped(&output) {
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let says = "inputs[0]: its shape is [4000000000, 4000000000], but `liar.in` in ";
    assert!(stdout(&output).contains(says), "{}", stdout(&output));
    assert!(stdout(&output).contains("has [3]"));
}

#[test]
fn the_suites_that_others_made_pass_on_the_best_adapter() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance");
    if !dir.is_dir() {
        eprintln!("SKIPPED: there is no {}", dir.display());
        return;
    }
    let file = std::env::temp_dir().join(format!("tachylite-cases-{}.json", std::process::id()));
    let output = check(dir.to_str().unwrap(), &["--json", file.to_str().unwrap()]);
    if skipped(&output) {
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    let passed = |row: &&Value, suite: &str, op: &str| {
        row["status"] == "pass" && row["suite"] == suite && row["op"] == op
    };
    for (suite, ops) in COVERED {
        for op in ops.split_whitespace() {
            let passes = json["rows"].as_array().unwrap().iter().filter(|r| passed(r, suite, op)).count();
            assert!(passes > 0, "of {suite} no case of {op} passes");
        }
    }
}

/// What is covered: a regression must not hide on the list of what is not.
const COVERED: [(&str, &str); 3] = [
    (
        "onnx",
        "MatMul Gemm DequantizeLinear QuantizeLinear LayerNormalization RMSNormalization Softmax LogSoftmax Gelu \
         Relu Sigmoid Tanh Swish Softplus Add Sub Mul Div Pow Min Max Clip Where Equal Greater Less ReduceSum \
         ReduceMean ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare Gather Transpose Concat \
         Slice Split Pad Cast Attention",
    ),
    ("misc", "norms softmax activations matmul_nt"),
    ("gguf", "dequantise matmul quantise"),
];

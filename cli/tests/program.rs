//! The program as people and scripts meet it: exit codes, one sentence on stderr, what `--json` holds.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tachylite::Plan;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tachylite"));
    command.args(arguments);
    command
}

/// The program where no driver can be found.
fn without_drivers(arguments: &[&str]) -> Output {
    let none = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES"];
    program(arguments).envs(none.map(|name| (name, "/dev/null"))).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tachylite-{}-{name}", std::process::id()))
}

#[test]
#[cfg(target_os = "linux")]
fn without_an_adapter_check_runs_on_virtual_and_says_so_first_and_last() {
    let output = without_drivers(&["check", "--op", "relu", "--quick"]);
    let out = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out} {}", stderr(&output));
    for line in [out.lines().next(), out.lines().next_back()] {
        assert!(line.unwrap().starts_with("there is no GPU adapter: this is `virtual`"), "{out}");
    }
    let output = without_drivers(&["check", "--adapter", "gpu", "--quick"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("there is no adapter"), "{}", stderr(&output));
    let output = without_drivers(&["info", "--json"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"[]\n"[..]));
}

#[test]
fn personalities_are_devices() {
    let output =
        program(&["check", "--adapter", "virtual:apple", "--op", "relu", "--quick"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = program(&[
        "check",
        "--personality",
        "presets",
        "--case",
        "relu/elementwise.rows/f32/plain/R=3,C=5/exact",
    ])
    .output()
    .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("virtual:plain") && out.contains("virtual:mali"), "{out}");
    for arguments in [["--personality", "pear"], ["--adapter", "virtual:pear"]] {
        let output = program(&["check", "--op", "relu"]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr(&output).contains("pear") && stderr(&output).contains("hostile"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn an_adapter_that_was_asked_for_and_is_missing_is_code_2() {
    let output = program(&["check", "--adapter", "no such adapter", "--op", "relu"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no such adapter"));
}

#[test]
fn what_cannot_be_run_is_code_2_and_one_sentence() {
    let graph = scratch("bad.json");
    std::fs::write(&graph, "{\"nodes\": [{\"op\": \"conv\"}]}").unwrap();
    for (arguments, says) in [
        (&["check", "--op", "conv"][..], "there is no op `conv`"),
        (&["check", "--case", "a/b/c"], "there is no case `a/b/c`"),
        (&["explain", "/no/such.json"], "/no/such.json: "),
        (&["explain", graph.to_str().unwrap()], "nodes[0].op: there is no op `conv`"),
        (&["explain", "--encoder", "--weights", "u32"], "`u32` is no type of weights"),
        (&["bench", "--json", "-", "--csv", "-"], "cannot both be written to stdout"),
        (&["export", "--encoder", "--out", "x.txt", "--plan-only"], "export: x.txt must end in .json"),
        (&["export", "--encoder", "--out", "x.json"], "give them with --tensors FILE"),
    ] {
        let output = program(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
    std::fs::remove_file(graph).unwrap();
}

#[test]
fn cases_are_listed_by_name_and_the_encoder_is_explained() {
    let output = program(&["check", "--list", "--op", "attention"]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    assert!(list.lines().count() > 100 && list.lines().all(|l| l.starts_with("attention.")), "{list}");
    let output = program(&["explain", "--encoder", "--weights", "q8_0"]).output().unwrap();
    let plan = String::from_utf8(output.stdout).unwrap();
    assert!(plan.contains("attention.online") && plan.contains("held at the peak"), "{plan}");
}

#[test]
#[cfg(unix)]
fn what_nobody_reads_ends_the_program_quietly() {
    let piped = |arguments: &[&str]| {
        program(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut child = piped(&["check", "--list"]);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(141), String::new()));
    let mut child = piped(&["check", "--adapter", "no-such-adapter"]);
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn results_are_written_as_json_where_there_is_an_adapter() {
    let file = scratch("check.json");
    let arguments = [
        "check",
        "--adapter",
        "gpu",
        "--op",
        "relu",
        "--case",
        "relu/elementwise.rows/f32/plain/R=3,C=5/",
        "--json",
    ];
    let output = program(&arguments).arg(&file).output().unwrap();
    if output.status.code() == Some(2) {
        assert!(stderr(&output).contains("there is no adapter"), "{}", stderr(&output));
        let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
        assert!(!required.contains("mesa22"), "TACHYLITE_REQUIRE asks for mesa22");
        eprintln!("SKIPPED: there is no adapter");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout.starts_with(b"checking 8 cases on gpu\n"));
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    assert_eq!(json["schema"], "tachylite-check/1");
    assert_eq!(
        json["summary"],
        serde_json::json!({ "pass": 8, "fail": 0, "unsupported": 0, "expected_failure": 0 })
    );
    assert!(json["devices"][0]["driver"].is_string());
    let row = &json["cases"][0];
    assert_eq!((row["op"].as_str(), row["status"].as_str()), (Some("relu"), Some("pass")));
    let again = row["reproduce"].as_str().unwrap();
    assert!(again.contains("--case 'relu/") && again.contains(row["seed"].as_str().unwrap()), "{again}");
}

/// A graph with a weight of each kind that files hold, and the tensors for it.
fn graph_and_tensors(folder: &Path) -> (PathBuf, PathBuf) {
    let graph = folder.join("graph.json");
    let text = r#"{"dims": {"R": 4}, "inputs": [{"name": "x", "dtype": "f32", "shape": ["R", 32]}],
        "weights": [{"name": "w", "dtype": "q8_0", "shape": [3, 32]}, {"name": "b", "dtype": "f32", "shape": [3]}],
        "nodes": [{"op": "matmul", "inputs": ["x", "w"], "name": "h"},
                  {"op": "add", "inputs": ["h", "b"], "name": "y"}], "outputs": ["y"]}"#;
    std::fs::write(&graph, text).unwrap();
    let (w, b) = (vec![1u8; 3 * 34], [0u8; 12]);
    let w = TensorView::new(Dtype::U8, vec![3, 34], &w).unwrap();
    let b = TensorView::new(Dtype::F32, vec![3], &b).unwrap();
    let tensors = folder.join("tensors.safetensors");
    std::fs::write(&tensors, safetensors::serialize([("w", w), ("b", b)], None).unwrap()).unwrap();
    (graph, tensors)
}

#[test]
fn an_export_is_two_files_that_fit_together_and_replaces_nothing() {
    let folder = scratch("export");
    std::fs::create_dir_all(&folder).unwrap();
    let (graph, tensors) = graph_and_tensors(&folder);
    let out = folder.join("plan.json");
    let export = |more: &[&str]| {
        let mut command = program(&["export", "--out"]);
        command.arg(&out).arg(&graph).args(more).output().unwrap()
    };
    let tensors = tensors.to_str().unwrap();
    let first = export(&["--tensors", tensors]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    let plan = Plan::from_json(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let weights = std::fs::read(out.with_extension("safetensors")).unwrap();
    let weights = SafeTensors::deserialize(&weights).unwrap();
    assert_eq!(weights.len(), plan.weights.len());
    for (i, spec) in plan.weights.iter().enumerate() {
        let bytes = weights.tensor(&format!("w{i}")).unwrap();
        assert_eq!((bytes.dtype(), bytes.data().len() as u64), (Dtype::U8, spec.bytes));
    }
    let again = export(&["--tensors", tensors]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).ends_with("is there already: --force replaces it\n"), "{}", stderr(&again));
    assert_eq!(export(&["--tensors", tensors, "--force"]).status.code(), Some(0));
    let wrong = export(&["--tensors", graph.to_str().unwrap(), "--force"]);
    assert!(wrong.status.code() == Some(2) && stderr(&wrong).lines().count() == 1, "{}", stderr(&wrong));
    std::fs::remove_dir_all(folder).unwrap();
}

/// With the driver that Dawn needs, where scripts/drivers put it: it takes no adapter of old Mesas.
fn with_swiftshader(mut command: Command) -> Command {
    if let (Ok(icd), Err(_)) = (std::env::var("TACHYLITE_SWIFTSHADER_ICD"), std::env::var("VK_DRIVER_FILES"))
    {
        command.env("VK_DRIVER_FILES", &icd).env("VK_ICD_FILENAMES", &icd);
    }
    command
}

/// One case on each runner.
#[test]
fn exported_plans_are_checked_on_other_webgpus() {
    for runner in ["node", "chromium"] {
        let file = scratch(&format!("{runner}.json"));
        let arguments =
            ["check", "--runner", runner, "--case", "relu/elementwise.rows/f32/plain/R=3,C=5/random"];
        let mut command = with_swiftshader(program(&arguments));
        let output = command.arg("--json").arg(&file).output().unwrap();
        if output.status.code() == Some(2) {
            let said = stderr(&output);
            let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|r| r == runner), "{runner} is required: {said}");
            eprintln!("SKIPPED {runner}: {said}");
            continue;
        }
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        std::fs::remove_file(file).unwrap();
        assert_eq!(json["devices"][0]["backend"], runner);
        assert_eq!(json["cases"][0]["status"], "pass");
        let again = json["cases"][0]["reproduce"].as_str().unwrap();
        assert!(again.contains(&format!("check --runner {runner} --case")), "{again}");
    }
}

#[test]
fn a_runner_that_does_not_start_is_code_2() {
    let output = program(&["check", "--runner", "node", "--op", "relu", "--quick"]).env("PATH", "").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("node does not start"), "{}", stderr(&output));
}

/// All that one operator makes of one shader.
#[test]
fn a_few_mutants_are_killed_and_not_run_again() {
    let state = scratch("mutate.jsonl");
    let arguments = ["mutate", "--file", "concat.wgsl", "--operator", "guard"];
    let listed = program(&arguments).arg("--list").output().unwrap();
    let list = String::from_utf8(listed.stdout).unwrap();
    assert!(list.contains("\n  - if k < p.M {\n  + if false {\n"), "{list}");
    let again = || {
        let mut command = program(&arguments);
        command.args(["--adapter", "gpu", "--state"]).arg(&state).output().unwrap()
    };
    let output = again();
    if output.status.code() == Some(2) {
        assert!(stderr(&output).contains("there is no adapter"), "{}", stderr(&output));
        eprintln!("SKIPPED: there is no adapter");
        return;
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}", stderr(&output));
    assert!(said.starts_with("2 mutants, 0 of them known, on gpu\n"), "{said}");
    assert!(said.trim_end().ends_with("2         0           0   100.0 %"), "{said}");
    let output = again();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.starts_with("2 mutants, 2 of them known, on gpu\n"), "{said}");
    std::fs::remove_file(state).unwrap();
}

#[test]
fn what_a_bench_cannot_be_compared_with_is_a_sentence() {
    let old = scratch("old.json");
    let compare = |text: Option<&str>| {
        text.inspect(|text| std::fs::write(&old, text).unwrap());
        let output = program(&["bench", "--compare", old.to_str().unwrap()]).output().unwrap();
        let said = stderr(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains(old.to_str().unwrap()), "{said}");
        said
    };
    assert!(compare(None).contains("No such file") || cfg!(not(target_os = "linux")));
    assert!(compare(Some("no JSON")).contains("this is no report of a bench"));
    assert!(compare(Some("{}")).contains("the field `format` must be `tachylite-bench`, but it is none"));
    let newer = r#"{"format": "tachylite-bench", "version": 9}"#;
    assert!(compare(Some(newer)).contains("version 9 cannot be read here, only 2 and 3"));
    let older = r#"{"format": "tachylite-bench", "version": 1, "probes": [], "rows": []}"#;
    assert!(compare(Some(older)).contains("the field `version` is 1, a version without the rounds"));
    // Where there is an adapter, it is none of this name; where there is none, that is the sentence.
    let foreign = r#"{"format": "tachylite-bench", "version": 2, "probes": [], "rows": [], "device":
        {"adapter": "nobody's", "backend": "vulkan", "driver": "1", "library": "0.1.0"}}"#;
    std::fs::write(&old, foreign).unwrap();
    let output = program(&["bench", "--compare", old.to_str().unwrap()]).output().unwrap();
    let said = stderr(&output);
    // Drivers say things too, as where there is no XDG_RUNTIME_DIR.
    let ours = said.lines().filter(|line| line.starts_with("tachylite: ")).count();
    assert_eq!((output.status.code(), ours), (Some(2), 1), "{said}");
    assert!(said.contains("it was measured on vulkan:nobody's (1)") || said.contains("adapter"), "{said}");
    std::fs::remove_file(&old).unwrap();
}

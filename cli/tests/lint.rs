//! `tachylite lint` as people and scripts meet it: where it looks for what the shader does not say, what it
//! prints, exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const COPY: &str = "\
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
override GAIN: f32;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    y[id.x] = GAIN * x[id.x];
}
";
const SETUP: &str =
    "dispatch = [1, 1, 1]\n[buffers.x]\nlen = 64\n[buffers.y]\nlen = 64\n[overrides]\nGAIN = 2.0\n";

/// A folder with a shader and, if there is one, its file.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, shader: &str, setup: Option<&str>) -> Self {
        let folder = std::env::temp_dir().join(format!("tachylite-lint-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("copy.wgsl"), shader).unwrap();
        if let Some(setup) = setup {
            std::fs::write(folder.join("copy.lint.toml"), setup).unwrap();
        }
        Self(folder)
    }

    fn lint(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tachylite"));
        command.current_dir(&self.0).args(["lint", "copy.wgsl", "--personality", "plain"]).args(arguments);
        command.output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_file_beside_the_shader_or_flags_say_how_to_run_it() {
    let with_file = Folder::new("file", COPY, Some(SETUP));
    let output = with_file.lint(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "copy.wgsl: 0 findings, 0 warnings on 1 virtual GPU\n");
    let without = Folder::new("flags", COPY, None);
    let flags = ["--dispatch", "1", "--buffer", "x=len:64,fill:[1,2]", "--buffer", "y=len:64"];
    let output = without.lint(&[&flags[..], &["--override", "GAIN=2"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    // Flags come first: half of the lanes lie outside.
    let output = with_file.lint(&["--buffer", "x=len:32", "--buffer", "y=len:32"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.starts_with("copy.wgsl:6:") && said.contains(": finding[out-of-bounds]: "), "{said}");
    assert!(said.contains("[32] of 32, lane 32 of workgroup (0, 0, 0)"), "{said}");
    assert!(said.ends_with("copy.wgsl: 2 findings, 0 warnings on 1 virtual GPU\n"), "{said}");
}

#[test]
fn json_says_the_same() {
    let folder = Folder::new("json", COPY, Some(SETUP));
    let output = folder.lint(&["--buffer", "y=len:60", "--json", "-"]);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["schema"], &json["findings"]), (&"tachylite-lint/1".into(), &1.into()));
    let found = &json["found"][0];
    assert_eq!((&found["kind"], &found["line"]), (&"out-of-bounds".into(), &6.into()));
    assert_eq!((&found["buffer"], &found["index"], &found["count"]), (&"y".into(), &60.into(), &60.into()));
    let output = folder.lint(&["--json", "report.json"]);
    assert_eq!(output.status.code(), Some(0));
    let file = std::fs::read(folder.0.join(Path::new("report.json"))).unwrap();
    let json: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!((&json["findings"], &json["warnings"]), (&0.into(), &0.into()));
}

#[test]
fn what_cannot_be_run_is_code_2_and_one_sentence() {
    let lines = |without: &str| SETUP.replace(without, "");
    for (name, shader, setup, arguments, says) in [
        ("parse", COPY.replace("GAIN *", "GAIN **"), Some(SETUP.to_owned()), &[][..], "copy.wgsl:6:"),
        ("type", COPY.replace("GAIN *", "id *"), Some(SETUP.to_owned()), &[], "copy.wgsl:6:"),
        ("none", COPY.to_owned(), None, &[], "give `dispatch = [x, y, z]` in copy.lint.toml, or --dispatch"),
        ("field", COPY.to_owned(), Some("dispatsh = 1\n".into()), &[], "copy.lint.toml:1:1: unknown field"),
        ("gain", COPY.to_owned(), Some(lines("GAIN = 2.0\n")), &[], "GAIN"),
        ("len", COPY.to_owned(), Some(lines("len = 64\n")), &[], "copy.lint.toml: buffers.x.len: "),
        (
            "var",
            COPY.to_owned(),
            Some(SETUP.to_owned()),
            &["--buffer", "z=len:1"],
            "buffers.z: the shader binds",
        ),
        ("zero", COPY.to_owned(), Some(SETUP.to_owned()), &["--dispatch", "0"], "dispatch[0]: 0 workgroups"),
        ("who", COPY.to_owned(), Some(SETUP.to_owned()), &["--personality", "me"], "no personality `me`"),
    ] {
        let output = Folder::new(name, &shader, setup.as_deref()).lint(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {said}{}", text(&output.stdout));
        assert!(said.contains(says) && said.lines().count() == 1, "{name}: {said}");
        assert!(output.stdout.is_empty(), "{name}");
    }
}

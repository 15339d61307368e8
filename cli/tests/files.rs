//! `inspect` and `quantize` as people and scripts meet them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;
use tachylite::files::{Array, Encoding, GgufWriter, ModelFiles, TensorSpec, Value, dequantize};
use tachylite::formats;
use tachylite::rng::Rng;
use tachylite::{DType, Tensor};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tachylite"));
    command.args(arguments);
    command
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one sentence by which the program says that it cannot.
fn refused(arguments: &[&str]) -> String {
    let output = program(arguments).output().unwrap();
    let e = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), e.lines().count()), (Some(2), 1), "{e}");
    assert!(output.stdout.is_empty());
    e
}

/// A folder of a test's own, gone after it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tachylite-cli-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| rng.signed() as f32).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A model of f32 tensors with these names and shapes.
fn model(path: &str, tensors: &[(&str, &[usize])]) {
    let metadata = [
        ("general.architecture", Value::String("test\u{1b}[2J".into())),
        ("general.file_type", Value::U32(0)),
        ("tokens", Value::Array(Array::String((0..100).map(|i| format!("t{i}")).collect()))),
    ];
    let metadata = metadata.map(|(k, v)| (k.to_owned(), v));
    let encoding = Encoding::by_name("F32").unwrap();
    let specs: Vec<_> = tensors
        .iter()
        .map(|(name, shape)| TensorSpec { name: (*name).into(), encoding, shape: shape.to_vec() })
        .collect();
    let mut writer = GgufWriter::create(Path::new(path), &metadata, &specs).unwrap();
    for (i, (_, shape)) in tensors.iter().enumerate() {
        writer.write(&bytes(&values(shape.iter().product(), i as u64))).unwrap();
    }
    writer.finish().unwrap();
}

fn read(model: &ModelFiles, name: &str) -> (String, Vec<u8>) {
    let t = model.contents().tensor(name).unwrap();
    let mut bytes = vec![0; (t.range.end - t.range.start) as usize];
    model.read(t, 0, &mut bytes).unwrap();
    (t.encoding.name.to_owned(), bytes)
}

const TENSORS: [(&str, &[usize]); 4] =
    [("embd", &[10, 64]), ("norm", &[64]), ("odd", &[4, 33]), ("blk.0.q", &[2, 3, 32])];

#[test]
fn a_file_is_inspected() {
    let folder = Folder::new("inspect");
    let file = folder.file("m.gguf");
    model(&file, &TENSORS);
    let out = stdout(&program(&["inspect", &file]).output().unwrap());
    for says in [
        "GGUF v3, 4 tensors, 3 metadata entries\n",
        "\"test\\u{1b}[2J\"",
        "string[100]",
        "\"t7\", … 92 more]",
        "[2, 3, 32]    768 B\n",
    ] {
        assert!(out.contains(says), "{out}\n{says}");
    }
    assert!(!out.contains('\u{1b}'));
    let out = stdout(&program(&["inspect", "--json", &file]).output().unwrap());
    let json: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(json["metadata"]["tokens"]["value"].as_array().unwrap().len(), 100);
    assert_eq!(json["tensors"][3]["shape"], serde_json::json!([2, 3, 32]));
    assert_eq!((json["format"].as_str(), json["version"].as_u64()), (Some("gguf"), Some(3)));

    let e = refused(&["inspect", &folder.file("none.gguf")]);
    assert!(e.starts_with("tachylite: ") && e.contains("none.gguf: "), "{e}");
    fs::write(folder.file("bad.gguf"), b"GGUF\0\0\0\x03................").unwrap();
    assert!(
        refused(&["inspect", &folder.file("bad.gguf")]).contains("offset 4: version: the file is big-endian")
    );
}

#[test]
fn gguf_becomes_gguf_and_says_what_it_lost() {
    let folder = Folder::new("gguf");
    let (from, to) = (folder.file("m.gguf"), folder.file("q.gguf"));
    model(&from, &TENSORS);
    let before = fs::read(&from).unwrap();
    let out = stdout(&program(&["quantize", &from, &to, "--to", "q8_0"]).output().unwrap());
    let rows = [
        ("norm", "it has less than two axes"),
        ("odd", "its last axis has 33 values, but a block of Q8_0 has 32"),
    ];
    for (name, why) in rows {
        let row = out.lines().find(|l| l.trim_start().starts_with(name)).unwrap();
        assert!(row.contains("as it is") && row.ends_with(why), "{row}");
    }
    assert!(out.contains("1 of 3 tensors of two axes or more could not become what was asked for"), "{out}");
    assert!(out.contains(" dB\n") && out.contains("before, ") && out.contains("after, 0."), "{out}");
    assert_eq!((fs::read(&from).unwrap(), folder.names()), (before, vec!["m.gguf".into(), "q.gguf".into()]));

    let made = ModelFiles::open(Path::new(&to)).unwrap();
    let same = formats::quantize(DType::Q8_0, &Tensor::from_f32(&[10, 64], &values(640, 0)).unwrap())
        .unwrap()
        .to_bytes();
    assert_eq!(read(&made, "embd"), ("Q8_0".into(), same));
    assert_eq!(read(&made, "odd"), ("F32".into(), bytes(&values(132, 2))));
    let file_type = made.contents().value("general.file_type").and_then(Value::as_u64);
    assert_eq!((file_type, made.contents().metadata().len()), (Some(7), 4));

    // Rows of 64 are no whole blocks of 256: those get smaller ones.
    let k = folder.file("k.gguf");
    let out = stdout(&program(&["quantize", &from, &k, "--to", "q4_k"]).output().unwrap());
    assert!(out.contains("64 values are no whole blocks of Q4_K\n"), "{out}");
    assert!(out.contains("\n2 of 3 tensors of two") && out.contains("\n1 of 3 tensors"), "{out}");
    assert_eq!(read(&ModelFiles::open(Path::new(&k)).unwrap(), "embd").0, "Q5_0");
    // And back: what was lost stays lost, and nothing more.
    let back = folder.file("b.gguf");
    stdout(&program(&["quantize", &to, &back, "--to", "f32"]).output().unwrap());
    let q8 = read(&made, "blk.0.q").1;
    let want = bytes(&dequantize(Encoding::by_name("q8_0").unwrap(), &q8).unwrap());
    assert_eq!(read(&ModelFiles::open(Path::new(&back)).unwrap(), "blk.0.q"), ("F32".into(), want));
}

#[test]
fn safetensors_become_gguf() {
    let folder = Folder::new("safetensors");
    let (from, to) = (folder.file("m.safetensors"), folder.file("q.gguf"));
    let data: Vec<u8> = values(128, 3).iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
    let ids: Vec<u8> = (0..4i64).flat_map(i64::to_le_bytes).collect();
    let view = |d, shape: &[usize], b| safetensors::tensor::TensorView::new(d, shape.to_vec(), b).unwrap();
    let views = [
        ("w", view(safetensors::Dtype::BF16, &[2, 64], &data)),
        ("ids", view(safetensors::Dtype::I64, &[1, 4], &ids)),
    ];
    let file = safetensors::serialize(views, Some([("format".into(), "pt".into())].into())).unwrap();
    fs::write(&from, &file).unwrap();
    let out = stdout(&program(&["quantize", &from, &to, "--to", "Q8_0"]).output().unwrap());
    assert!(out.contains("it does not hold floats\n"), "{out}");
    let made = ModelFiles::open(Path::new(&to)).unwrap();
    let rounded: Vec<f32> = values(128, 3).iter().map(|v| half::bf16::from_f32(*v).to_f32()).collect();
    let same =
        formats::quantize(DType::Q8_0, &Tensor::from_f32(&[2, 64], &rounded).unwrap()).unwrap().to_bytes();
    assert_eq!(read(&made, "w"), ("Q8_0".into(), same));
    assert_eq!(read(&made, "ids"), ("I64".into(), ids));
    assert_eq!(made.contents().value("safetensors.format").and_then(Value::as_str), Some("pt"));
}

#[test]
fn overrides_go_by_name_and_nothing_is_left_out_in_silence() {
    let folder = Folder::new("override");
    let (from, to) = (folder.file("m.gguf"), folder.file("q.gguf"));
    model(&from, &TENSORS);
    let with = |overrides: &[&'static str]| {
        let mut all = vec!["quantize", &from, &to, "--to", "q8_0"];
        overrides.iter().for_each(|o| all.extend(["--override", o]));
        all.into_iter().map(String::from).collect::<Vec<_>>()
    };
    let refused = |overrides: &[&'static str]| {
        let all = with(overrides);
        refused(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(refused(&["x"]).contains("--override x: must be PATTERN=TYPE"));
    assert!(refused(&["*=q9"]).contains("`q9` is no type that is made; there are f32, f16,"));
    assert!(refused(&["none*=f16"]).contains("--override none*=f16: no tensor has such a name"));
    assert!(
        refused(&["odd=q8_0"]).contains("--override odd=q8_0: `odd` cannot be Q8_0: its last axis has 33")
    );
    assert_eq!(folder.names(), ["m.gguf"]);
    // Where one of several takes the type the others stay as they are, as they do without an override.
    let all = with(&["*d*=q4_0"]);
    let said = stdout(&program(&all.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap());
    assert!(said.contains("its last axis has 33 values, but a block of Q4_0 has 32"), "{said}");
    std::fs::remove_file(&to).unwrap();

    let all = with(&["*=f16", "blk.?.q=keep", "e*d=q8_0"]);
    stdout(&program(&all.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap());
    let made = ModelFiles::open(Path::new(&to)).unwrap();
    let types: Vec<_> = made.contents().tensors().iter().map(|t| t.encoding.dtype().unwrap()).collect();
    assert_eq!(types, [DType::Q8_0, DType::F16, DType::F16, DType::F32]);
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let folder = Folder::new("refuse");
    let (from, to) = (folder.file("m.gguf"), folder.file("q.gguf"));
    model(&from, &[("w", &[1, 32])]);
    assert!(refused(&["quantize", &from, &to, "--to", "u32"]).contains("`u32` is no type that is made"));
    assert!(refused(&["quantize", &from, &from, "--to", "q8_0"]).contains("m.gguf is there already"));
    let nowhere = folder.file("no/q.gguf");
    let e = refused(&["quantize", &from, &nowhere, "--to", "q8_0"]);
    assert!(e.contains("no/q.gguf: there is no folder ") && !e.contains("partial"), "{e}");
    // A value that no block can hold is named with its tensor.
    let mut bad = fs::read(&from).unwrap();
    let n = bad.len();
    bad[n - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&from, bad).unwrap();
    let e = refused(&["quantize", &from, &to, "--to", "q8_0"]);
    let says = format!("`w`: value 31, at offset {}, is NaN, which no block of Q8_0 can hold; ", n - 4);
    assert!(e.contains(&says) && e.ends_with("add --override 'w=keep'\n"), "{e}");
    assert_eq!(folder.names(), ["m.gguf"]);
}

/// A safetensors file of these tensors.
fn put(path: &str, tensors: &[(&str, safetensors::Dtype, &[usize], Vec<u8>)]) {
    let views = tensors.iter().map(|(name, d, shape, data)| {
        (*name, safetensors::tensor::TensorView::new(*d, shape.to_vec(), data).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn finite_values_that_would_not_stay_so_are_named() {
    let folder = Folder::new("large");
    let (from, to) = (folder.file("m.safetensors"), folder.file("q.gguf"));
    let with = |v: f32| {
        let mut values = values(512, 1);
        values[300] = v;
        bytes(&values)
    };
    put(&from, &[("w", safetensors::Dtype::F32, &[2, 256], with(1e9))]);
    for (name, value) in [("q8_0", 288), ("q4_0", 288), ("q4_k", 256), ("q6_k", 256), ("f16", 300)] {
        let e = refused(&["quantize", &from, &to, "--to", name]);
        let says = format!("m.safetensors: `w`: value {value} is ");
        assert!(e.contains(&says) && e.contains(&name.to_uppercase()), "{name}: {e}");
        assert!(name == "f16" || e.contains("(its block holds 1e9)"), "{e}");
    }
    stdout(&program(&["quantize", &from, &to, "--to", "bf16"]).output().unwrap());
    fs::remove_file(&to).unwrap();
    let wide: Vec<u8> =
        values(64, 1).iter().map(|v| f64::from(*v)).chain([1e300; 32]).flat_map(f64::to_le_bytes).collect();
    put(&from, &[("w", safetensors::Dtype::F64, &[3, 32], wide)]);
    for name in ["bf16", "q8_0"] {
        let e = refused(&["quantize", &from, &to, "--to", name]);
        assert!(e.contains("m.safetensors: `w`, values from 0: F64: value 64 is 1e300"), "{e}");
    }
    assert_eq!(folder.names(), ["m.safetensors"]);
}

#[test]
fn blocks_that_stand_for_no_numbers_are_named() {
    let folder = Folder::new("scale");
    let (from, to) = (folder.file("m.gguf"), folder.file("q.gguf"));
    let encoding = Encoding::by_name("Q8_0").unwrap();
    let spec = TensorSpec { name: "w".into(), encoding, shape: vec![4, 32] };
    let mut writer = GgufWriter::create(Path::new(&from), &[], &[spec]).unwrap();
    let mut data = [1; 4 * 34];
    data[2 * 34..2 * 34 + 2].copy_from_slice(&0x7c00u16.to_le_bytes());
    writer.write(&data).unwrap();
    writer.finish().unwrap();
    let at = ModelFiles::open(Path::new(&from)).unwrap().contents().tensors()[0].range.start + 2 * 34;
    let e = refused(&["quantize", &from, &to, "--to", "f16"]);
    assert!(e.contains(&format!("m.gguf: `w`: block 2, at offset {at}, stands for inf")), "{e}");
    assert_eq!(folder.names(), ["m.gguf"]);
}

#[test]
fn what_gguf_has_no_place_for_is_left_out_when_asked() {
    let folder = Folder::new("drop");
    let (from, to) = (folder.file("m.safetensors"), folder.file("q.gguf"));
    let long = "n".repeat(64);
    put(
        &from,
        &[
            ("mask", safetensors::Dtype::U8, &[4], vec![1; 4]),
            (&long, safetensors::Dtype::F32, &[1, 32], bytes(&values(32, 2))),
            ("w", safetensors::Dtype::F32, &[2, 32], bytes(&values(64, 1))),
            ("odd", safetensors::Dtype::F32, &[9, 33], bytes(&values(297, 1))),
        ],
    );
    let e = refused(&["quantize", &from, &to, "--to", "q8_0", "--override", "n*=drop"]);
    let way = "; --override PATTERN=drop leaves a tensor out";
    assert!(
        e.contains(&format!("m.safetensors: gguf: `mask` is U8, which GGUF has no type for{way}")),
        "{e}"
    );
    let e = refused(&["quantize", &from, &to, "--to", "q8_0", "--override", "mask=drop"]);
    assert!(e.contains("has 64 bytes, but ggml reads 1 to 63") && e.trim_end().ends_with(way), "{e}");
    let arguments =
        ["quantize", &from, &to, "--to", "q8_0", "--override", "mask=drop", "--override", "n*=drop"];
    let out = stdout(&program(&arguments).output().unwrap());
    assert!(out.contains("  left out: mask\n") && out.contains("  left out: nnn"), "{out}");
    let made = ModelFiles::open(Path::new(&to)).unwrap();
    assert_eq!(made.contents().tensors().len(), 2);
    // Most bytes are still f32.
    assert_eq!(made.contents().value("general.file_type").and_then(Value::as_u64), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn one_long_name_is_not_paid_for_by_every_row() {
    let folder = Folder::new("wide");
    let file = folder.file("m.gguf");
    let encoding = Encoding::by_name("I8").unwrap();
    let spec = |name: String| TensorSpec { name, encoding, shape: vec![0] };
    let wide = spec("\u{e000}".repeat(21));
    let specs: Vec<_> = (0..20_000).map(|i| spec(format!("{i}"))).chain([wide]).collect();
    GgufWriter::create(Path::new(&file), &[], &specs).unwrap().finish().unwrap();
    let out = stdout(&program(&["inspect", &file]).output().unwrap());
    let longest = out.lines().skip(3).map(str::len).max().unwrap();
    assert!(longest < 140 && out.contains("… 9 more"), "{longest}");
    let row = out.lines().find(|l| l.starts_with("  17 ")).unwrap();
    assert!(row.len() < 90, "{row}");
}

/// How long the file that is being written is, whatever its process has called it.
#[cfg(unix)]
fn partial(folder: &Folder) -> Option<u64> {
    let name = folder.names().into_iter().find(|n| n.ends_with(".partial"))?;
    fs::metadata(folder.0.join(name)).ok().map(|m| m.len())
}

#[test]
#[cfg(unix)]
fn killed_at_ten_moments_it_leaves_the_old_state() {
    let folder = Folder::new("kill");
    let (from, to) = (folder.file("m.gguf"), folder.file("q.gguf"));
    model(&from, &[("a", &[1024, 1024]), ("b", &[1024, 1024]), ("c", &[1024, 1024])]);
    let before = fs::read(&from).unwrap();
    let arguments = ["quantize", &from, &to, "--to", "q8_0"];
    stdout(&program(&arguments).output().unwrap());
    let whole = fs::read(&to).unwrap();
    fs::remove_file(&to).unwrap();
    let mut absent = 0;
    for moment in 0..10u64 {
        let mut child = program(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // From when the other name appears to when the file is all but whole, or has its own name.
        let enough = whole.len() as u64 * moment / 9;
        while child.try_wait().unwrap().is_none() && partial(&folder).is_none_or(|n| n < enough) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(fs::read(&from).unwrap(), before, "moment {moment}");
        // There is no such file, or it is whole; a file that is not whole never has its name.
        match fs::read(&to) {
            Ok(made) => {
                assert!(made == whole, "moment {moment}");
                fs::remove_file(&to).unwrap();
            }
            Err(_) => absent += 1,
        }
        // What was left does not hinder the next run, which says what it is.
        let left = folder.names().into_iter().filter(|n| n.ends_with(".partial")).collect::<Vec<_>>();
        let output = program(&arguments).output().unwrap();
        stdout(&output);
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), left.len(), "moment {moment}");
        assert!(fs::read(&to).unwrap() == whole);
        fs::remove_file(&to).unwrap();
        left.iter().for_each(|n| fs::remove_file(folder.0.join(n)).unwrap());
    }
    assert!(absent >= 5, "{absent} of 10 runs were interrupted before their end");
}

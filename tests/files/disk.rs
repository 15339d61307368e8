//! Files on a disk: opened by name, read in pieces, written whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tachylite::files::{GgufWriter, ModelFiles, Value};

use super::corpus::{Raw, gguf, metadata, safetensors, seeds, spec};

/// A folder of a test's own, gone after it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tachylite-files-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.0.join(name), bytes).unwrap();
        self.0.join(name)
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

fn refused(path: &Path) -> String {
    let e = ModelFiles::open(path).unwrap_err().to_string();
    assert!(e.starts_with(&path.parent().unwrap().display().to_string()) && !e.contains('\n'), "{e}");
    e
}

#[test]
fn a_file_is_read_as_its_bytes_are() {
    let folder = Folder::new("same");
    for (name, bytes) in seeds() {
        let path = folder.put(name, &bytes);
        let on_disk = ModelFiles::open(&path).unwrap();
        let in_memory = tachylite::files::Model::new(&[(name, &bytes)]).unwrap();
        assert_eq!(on_disk.contents().tensors(), in_memory.contents().tensors());
        for t in on_disk.contents().tensors() {
            let whole = in_memory.bytes(t).unwrap();
            let mut half = vec![0; whole.len() - whole.len() / 2];
            on_disk.read(t, whole.len() as u64 / 2, &mut half).unwrap();
            assert_eq!(half, whole[whole.len() / 2..]);
            assert!(on_disk.read(t, 1, &mut vec![0; whole.len()]).is_err());
            assert!(on_disk.read(t, u64::MAX, &mut [0]).is_err());
        }
    }
}

#[test]
fn long_headers_are_read_as_far_as_they_go() {
    let folder = Folder::new("long");
    let words = (0..50_000).map(|i| format!("word {i}")).collect();
    let vocabulary = ("tokens".to_owned(), Value::Array(tachylite::files::Array::String(words)));
    let path = folder.put("v.gguf", &gguf(std::slice::from_ref(&vocabulary), &[spec("w", "F32", &[7])]));
    let model = ModelFiles::open(&path).unwrap();
    assert_eq!(model.contents().metadata(), [vocabulary]);
    let mut bytes = [0; 28];
    model.read(&model.contents().tensors()[0], 0, &mut bytes).unwrap();
    assert_eq!(bytes[27], 27);
}

#[test]
#[cfg(target_os = "linux")]
fn huge_files_take_no_memory_for_what_they_say() {
    let folder = Folder::new("huge");
    // Sparse files: 1 TiB that is nowhere.
    let sparse = |name: &str, head: Raw| {
        let path = folder.put(name, &head.0);
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        path
    };
    let e = refused(&sparse("text.gguf", Raw::gguf(0, 1).text("k").u32(8).u64(1 << 39)));
    assert!(e.contains("offset 37: `k`: has 549755813888 bytes, but 99999955 bytes follow"), "{e}");
    let e = refused(&sparse("many.gguf", Raw::gguf(3_900_000, 0)));
    assert!(e.contains("offset 8: number of tensors: is 3900000, but at most 1000000"), "{e}");
    let e = refused(&sparse("header.safetensors", Raw::default().u64(1 << 39).bytes(b"{")));
    assert!(
        e.contains("header length: is 549755813888, but 1099511627768 bytes follow, and at most 100000000"),
        "{e}"
    );
    // A tensor of almost all of it is read where it is asked for.
    let path = sparse("good.gguf", Raw::gguf(1, 0).tensor("w", &[(1 << 40) - 64], 24, 0));
    let model = ModelFiles::open(&path).unwrap();
    let t = &model.contents().tensors()[0];
    let mut end = [1; 8];
    model.read(t, (1 << 40) - 64 - 8, &mut end).unwrap();
    assert_eq!(end, [0; 8]);
}

#[test]
fn split_models_are_found_by_any_of_their_files() {
    let folder = Folder::new("split");
    let part = |i: u16| {
        let keys = [("split.no", Value::U16(i)), ("split.count", Value::U16(3))];
        gguf(&keys.map(|(k, v)| (k.to_owned(), v)), &[spec(&format!("w{i}"), "F32", &[2])])
    };
    let paths: Vec<_> =
        (0..3).map(|i| folder.put(&format!("m-{:05}-of-00003.gguf", i + 1), &part(i))).collect();
    for path in &paths {
        let model = ModelFiles::open(path).unwrap();
        assert_eq!((model.contents().tensors().len(), model.contents().parts().len()), (3, 3));
        let mut bytes = [0; 4];
        model.read(model.contents().tensor("w2").unwrap(), 4, &mut bytes).unwrap();
        assert_eq!(bytes, [4, 5, 6, 7]);
    }
    let other = folder.put("other.gguf", &part(0));
    assert!(
        refused(&other).contains("split.count: is 3, but the file is not called `*-00001-of-00003.gguf`")
    );
    let lies = folder.put("m-00001-of-00002.gguf", &part(0));
    assert!(refused(&lies).contains("split.count: is 3, but the file's name says 2"));
    fs::remove_file(&paths[1]).unwrap();
    assert!(refused(&paths[0]).contains("m-00002-of-00003.gguf: "));
}

#[test]
fn an_index_leads_to_files_beside_it_and_nowhere_else() {
    let folder = Folder::new("index");
    let file = |name: &str| {
        let json = format!("{{\"{name}\":{{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}}}");
        safetensors(&json, 2)
    };
    folder.put("m-1.safetensors", &file("a"));
    folder.put("m-2.safetensors", &file("b"));
    let index = |map: &str| {
        folder.put("model.safetensors.index.json", format!("{{\"weight_map\":{map}}}").as_bytes())
    };
    let path = index(r#"{"a": "m-1.safetensors", "b": "m-2.safetensors"}"#);
    let model = ModelFiles::open(&path).unwrap();
    assert_eq!(model.contents().tensors().iter().map(|t| t.part).collect::<Vec<_>>(), [0, 1]);
    // CVE-2022-25882, CVE-2024-27318, CVE-2026-27489: paths that lead elsewhere. Names of links (-34446,
    // -34447) are followed, since hubs keep files so: who may write beside the index may write its files.
    #[cfg(unix)]
    {
        let other = Folder::new("index-elsewhere");
        other.put("s.safetensors", &file("a"));
        std::os::unix::fs::symlink(other.0.join("s.safetensors"), folder.0.join("soft.safetensors")).unwrap();
        fs::hard_link(other.0.join("s.safetensors"), folder.0.join("hard.safetensors")).unwrap();
        for name in ["soft", "hard"] {
            ModelFiles::open(&index(&format!("{{\"a\": \"{name}.safetensors\"}}"))).unwrap();
        }
        let path = index(r#"{"a": "m-1.safetensors", "b": "m-2.safetensors"}"#);
        ModelFiles::open(&path).unwrap();
    }
    let elsewhere = [
        "../m.safetensors",
        "/etc/m.safetensors",
        "a/m.safetensors",
        "..\\\\m.safetensors",
        "C:m.safetensors",
    ];
    for bad in elsewhere.into_iter().chain(["", ".", ".m.safetensors", "m.bin", "m\\u0000.safetensors"]) {
        let e = refused(&index(&format!("{{\"a\":\"{bad}\"}}")));
        assert!(e.contains("is no plain name of a safetensors file"), "{e}");
        assert!(bad.contains('\\') || e.contains("json: offset 19: weight_map: "), "{e}");
    }
    assert!(refused(&index("{}")).contains("weight_map: names 0 files"));
    assert!(refused(&index("7")).contains("offset 14: index: "));
    let e = refused(&index(r#"{"a": "m-1.safetensors", "c": "m-2.safetensors"}"#));
    assert!(e.contains("weight_map, `c`: is not in m-2.safetensors"), "{e}");
    assert!(refused(&index(r#"{"a": "m-3.safetensors"}"#)).contains("m-3.safetensors: "));
}

#[test]
fn callers_at_once_get_the_bytes_they_asked_for() {
    let folder = Folder::new("threads");
    let path = folder.put("m.gguf", &gguf(&[], &[spec("w", "I8", &[251 * 64])]));
    let model = ModelFiles::open(&path).unwrap();
    let t = model.contents().tensor("w").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (model, t) = (&model, &t);
            scope.spawn(move || {
                for i in 0..40_000u64 {
                    let at = (i * 37 + thread * 1999) % (251 * 64 - 3);
                    let mut bytes = [0; 3];
                    model.read(t, at, &mut bytes).unwrap();
                    assert_eq!(bytes, [at, at + 1, at + 2].map(|v| v as u8), "thread {thread}, from {at}");
                }
            });
        }
    });
}

#[test]
fn metadata_of_safetensors_says_nothing_about_files_of_gguf() {
    let folder = Folder::new("count");
    let json = r#"{"__metadata__":{"split.count":"2"},"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let model = ModelFiles::open(&folder.put("m.safetensors", &safetensors(json, 1))).unwrap();
    assert_eq!(model.contents().value("split.count").and_then(Value::as_str), Some("2"));
}

#[test]
fn what_is_no_file_is_said_to_be_none() {
    let folder = Folder::new("none");
    assert!(refused(&folder.0.join("none.gguf")).contains("none.gguf: "));
    fs::create_dir(folder.0.join("d.gguf")).unwrap();
    assert!(refused(&folder.0.join("d.gguf")).contains("is a folder, not a model file"));
    assert!(refused(&folder.put("e.gguf", b"")).contains("offset 0: magic: the file is empty"));
}

#[test]
fn a_written_file_is_there_whole_or_not_at_all() {
    let folder = Folder::new("write");
    let path = folder.0.join("out.gguf");
    let tensors =
        [spec("e", "F32", &[0]), spec("a", "Q8_0", &[2, 32]), spec("b", "F16", &[5]), spec("z", "F16", &[0])];
    let begin = || GgufWriter::create(&path, &metadata(), &tensors).unwrap();

    drop(begin());
    let mut short = begin();
    short.write(&[1; 67]).unwrap();
    let e = short.finish().unwrap_err().to_string();
    assert_eq!(e, "gguf: `a` takes 68 bytes, but 67 were given");
    let mut long = begin();
    let e = long.write(&[1; 69]).unwrap_err().to_string();
    assert_eq!(e, "gguf: `a` takes 68 bytes, of which 68 are left, but 69 are given");
    drop(long);
    assert!(folder.names().is_empty(), "{:?}", folder.names());

    let left = folder.put(&format!("out.gguf.{}.partial", std::process::id()), b"an earlier process's");
    let mut writer = begin();
    assert_eq!((folder.names().len(), fs::read(&left).unwrap().len()), (2, 20));
    fs::remove_file(left).unwrap();
    assert!(!path.exists());
    writer.write(&[1; 60]).unwrap();
    writer.write(&[1; 8]).unwrap();
    writer.write(&[2; 10]).unwrap();
    assert!(writer.write(&[0]).unwrap_err().to_string().contains("follow the last tensor"));
    let bytes = writer.finish().unwrap();
    assert_eq!((folder.names(), fs::metadata(&path).unwrap().len()), (vec!["out.gguf".to_owned()], bytes));
    let model = ModelFiles::open(&path).unwrap();
    let mut b = [0; 10];
    model.read(model.contents().tensor("b").unwrap(), 0, &mut b).unwrap();
    assert_eq!((b, model.contents().metadata()), ([2; 10], &metadata()[..]));

    let there = GgufWriter::create(&path, &[], &[]).unwrap_err().to_string();
    assert_eq!(there, format!("{} is there already", path.display()));
}

#[test]
fn a_file_that_came_meanwhile_stays() {
    let folder = Folder::new("race");
    let path = folder.0.join("out.gguf");
    let writer = GgufWriter::create(&path, &[], &[]).unwrap();
    fs::write(&path, "another's").unwrap();
    assert!(writer.finish().unwrap_err().to_string().ends_with("is there already"));
    assert_eq!((fs::read_to_string(&path).unwrap().as_str(), folder.names().len()), ("another's", 1));
    let nowhere = GgufWriter::create(&folder.0.join("no/out.gguf"), &[], &[]).unwrap_err().to_string();
    assert!(nowhere.contains("out.gguf.") && !nowhere.contains('\n'), "{nowhere}");
}

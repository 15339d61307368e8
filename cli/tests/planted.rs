//! `tachylite lint` on small shaders with one planted defect each (tests/planted): each is found at the line that
//! says so, `// finds: KIND` or `// warns: KIND`, and nothing else is; of the mended twins nothing is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tachylite::virtual_gpu::Kind;

/// What is found where: line and kind.
type Found = BTreeSet<(u64, String)>;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(name)
}

fn shaders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "wgsl")).collect();
    found.sort();
    found
}

/// What the comments say.
fn marked(path: &Path) -> Found {
    let text = std::fs::read_to_string(path).unwrap();
    let mark = |line: &str| {
        let (_, kind) = line.rsplit_once("// finds: ").or_else(|| line.rsplit_once("// warns: "))?;
        Some(kind.to_owned())
    };
    let lines = text.lines().enumerate();
    lines.filter_map(|(i, line)| Some((i as u64 + 1, mark(line)?))).collect()
}

/// What `lint` finds, and what it says of it; its exit code must agree.
fn linted(path: &Path) -> Result<(Found, String), String> {
    let program = Command::new(env!("CARGO_BIN_EXE_tachylite"))
        .args(["lint", "--json", "-"])
        .arg(path)
        .output()
        .map_err(|e| e.to_string())?;
    let json: Value = serde_json::from_slice(&program.stdout)
        .map_err(|e| format!("{e}: {}", String::from_utf8_lossy(&program.stderr)))?;
    let list = json["found"].as_array().ok_or("nothing is `found`")?;
    let code = i32::from(list.iter().any(|f| f["warning"] == false));
    if program.status.code() != Some(code) {
        return Err(format!("exit code {:?} instead of {code}", program.status.code()));
    }
    let of = |f: &Value| Some((f["line"].as_u64()?, f["kind"].as_str()?.to_owned()));
    let says: Vec<_> =
        list.iter().map(|f| format!("{}:{} {}", f["line"], f["column"], f["message"])).collect();
    Ok((list.iter().filter_map(of).collect(), says.join(" | ")))
}

/// A row of the table, and whether it is as it should be.
fn judged(path: &Path) -> (bool, String) {
    let name = path.strip_prefix(folder("planted")).unwrap_or(path).display().to_string();
    let wanted = marked(path);
    match linted(path) {
        Err(why) => (false, format!("{name:<40} WRONG {why}")),
        Ok((found, says)) => {
            let right = found == wanted;
            let wrong = if right { "" } else { "WRONG " };
            let wanted = if right { String::new() } else { format!(" instead of {wanted:?}") };
            (right, format!("{name:<40} {wrong}{found:?}{wanted} {says}"))
        }
    }
}

#[test]
fn every_planted_defect_is_found_at_its_line_and_twins_are_silent() {
    let (planted, mended) = (shaders(&folder("planted")), shaders(&folder("planted/mended")));
    let names =
        |list: &[PathBuf]| -> Vec<_> { list.iter().map(|p| p.file_name().unwrap().to_owned()).collect() };
    assert!(planted.len() >= 30 && names(&planted) == names(&mended), "every defect has a twin");
    let kinds: BTreeSet<_> = planted.iter().flat_map(|p| marked(p)).map(|(_, kind)| kind).collect();
    assert_eq!(kinds, Kind::ALL.iter().map(|k| k.name().to_owned()).collect(), "every kind is planted");
    assert!(planted.iter().all(|p| marked(p).len() == 1) && mended.iter().all(|p| marked(p).is_empty()));

    let (all, next) = ([planted, mended].concat(), AtomicUsize::new(0));
    let worker = || {
        let mut rows = Vec::new();
        while let Some(path) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            rows.push(judged(path));
        }
        rows
    };
    let mut rows: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });
    rows.sort_by(|a, b| a.1.cmp(&b.1));
    rows.iter().for_each(|(_, row)| println!("{row}"));
    let wrong: Vec<_> = rows.iter().filter(|(right, _)| !right).map(|(_, row)| row.as_str()).collect();
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

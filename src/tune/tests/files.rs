//! Files of tunings: read back, merged, refused.

use std::path::PathBuf;

use super::*;

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tachylite-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn tuning() -> Tuning {
    let mut t = Tuning::new(&Profile::portable());
    t.won(key(256, 1024, 1000, Determinism::Repeatable), winner(loser(), 7));
    t.reject(MATMUL.kernels[0].name, TYPES, rejected(8));
    t
}

#[test]
fn a_tuning_read_back_is_the_same_and_names_its_device() {
    let folder = Folder::new("same");
    let path = folder.0.join("deep").join(file_name(&Profile::portable()));
    assert_eq!(tuning().merge_into(&path).unwrap(), tuning());
    assert_eq!(Tuning::read(&path, &Profile::portable()).unwrap(), tuning());
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let named = |driver: &str| file_name(&Profile { driver: driver.into(), ..Profile::portable() });
    assert_ne!(named("1"), named("2"));
}

#[test]
fn several_may_write_at_once_and_nothing_is_lost() {
    let folder = Folder::new("many");
    let path = folder.0.join("t.json");
    std::thread::scope(|scope| {
        for i in 0..8u64 {
            let path = &path;
            scope.spawn(move || {
                let mut own = Tuning::new(&Profile::portable());
                own.won(key(1 << i, 1024, 1000, Determinism::Repeatable), winner(loser(), i));
                own.won(key(4096, 1024, 1000, Determinism::Repeatable), winner(loser(), i));
                own.merge_into(path).unwrap();
            });
        }
    });
    let all = Tuning::read(&path, &Profile::portable()).unwrap();
    assert_eq!(all.winners().count(), 9);
    let shared = all.winner(&key(4096, 1024, 1000, Determinism::Repeatable)).unwrap();
    assert_eq!(shared.when, 7);
}

#[test]
fn what_changed_since_is_left_out() {
    let device = Device::of(&Profile::portable());
    let read = |t: &Tuning| Tuning::from_json(&t.to_json(), &device).unwrap();
    let mut changed = tuning();
    changed.winners.values_mut().for_each(|w| w.texts = "0".into());
    assert_eq!((read(&changed).winners().count(), read(&changed).rejected().count()), (0, 1));
    changed.rejected.values_mut().for_each(|r| r.texts = "0".into());
    assert_eq!(read(&changed), Tuning::new(&Profile::portable()));
    let changes: [fn(&mut Device); 2] = [|d| d.driver = "another".into(), |d| d.library = "another".into()];
    for change in changes {
        let mut other = tuning();
        change(&mut other.device);
        assert_eq!(read(&other), Tuning::new(&Profile::portable()));
    }
    let (file, text, whole) = (MATMUL.kernels[0].file, MATMUL.kernels[0].source, tuning());
    crate::kernel::with_source(file, &format!("{text}// other\n"), || {
        assert_eq!(read(&whole), Tuning::new(&Profile::portable()));
    });
}

#[test]
fn damaged_and_foreign_files_are_named_and_stay_as_they_are() {
    let folder = Folder::new("damaged");
    let path = folder.0.join("t.json");
    let whole = tuning().to_json();
    let mut foreign = tuning();
    foreign.device.adapter = "another".into();
    for (text, expected) in [
        (whole[..whole.len() / 2].to_owned(), "this is no tuning: EOF while parsing"),
        (String::new(), "this is no tuning: EOF while parsing"),
        (whole.replace("tachylite-tuning", "x"), "`format` must be `tachylite-tuning`, but it is `x`"),
        (whole.replace("\"version\": 1", "\"version\": 2"), "version 2 cannot be read here, only version 1"),
        (whole.replace("0.001", "-0.001"), ".seconds: -0.001 is no time"),
        (whole.replace("\"ratio\": 0.5", "\"ratio\": []"), "ratio: invalid type: sequence, expected f64"),
        (whole.replace("\"ratio\"", "\"ratios\""), "unknown field `ratios`"),
        (foreign.to_json(), "it is of any:another (), tachylite "),
    ] {
        std::fs::write(&path, &text).unwrap();
        let said = Tuning::read(&path, &Profile::portable()).unwrap_err().to_string();
        assert!(said.contains(path.to_str().unwrap()) && said.contains(expected), "{expected}: {said}");
        assert!(tuning().merge_into(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

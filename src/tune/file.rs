//! Tunings as files: one small JSON file for each device, driver and version of the library, which
//! several processes may write.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::export::whole;
use crate::profile::Profile;
use crate::rng::Rng;
use crate::tune::{Device, Tuning};

/// What a tuning's file calls itself.
const FORMAT: &str = "tachylite-tuning";
/// The version of the format: the number changes when a reader would have to.
const VERSION: u64 = 1;
/// How long a writer waits for another; writing takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A name for the file of a device's tuning: readable, and another for every adapter, backend, driver and
/// version of the library.
pub fn file_name(profile: &Profile) -> String {
    let device = Device::of(profile);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = device.adapter.chars().take(24).map(plain).collect();
    let hash = Rng::hash(&device.to_string());
    format!("{}-{}-{hash:016x}.json", device.backend, name.trim_matches('-'))
}

#[derive(Serialize)]
struct Written<'a> {
    format: &'a str,
    version: u64,
    tuning: &'a Tuning,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "format")]
    _format: serde::de::IgnoredAny,
    #[serde(rename = "version")]
    _version: serde::de::IgnoredAny,
    tuning: Tuning,
}

/// What is read before it is known what the rest looks like.
#[derive(Deserialize)]
struct Head {
    format: Option<String>,
    version: Option<serde_json::Value>,
}

impl Tuning {
    /// The tuning as the text of a file.
    pub fn to_json(&self) -> String {
        let file = Written { format: FORMAT, version: VERSION, tuning: self };
        // Numbers, text and maps by text: nothing in a tuning can fail to be written.
        serde_json::to_string_pretty(&file).map(|text| text + "\n").unwrap_or_default()
    }

    /// The tuning of a device in the text of a file, less what was measured with other kernels than this
    /// library has: nothing, if it is of another driver or version.
    ///
    /// # Errors
    /// [`Error::Argument`] in one sentence with the field and where it is, or if it is of another adapter.
    pub fn from_json(text: &str, device: &Device) -> Result<Self> {
        let tuning = Self::parse(text)?;
        let same = |a: &Device| (&a.adapter, &a.backend) == (&device.adapter, &device.backend);
        if !same(&tuning.device) {
            tuning.is_of(device)?;
        }
        if tuning.device == *device {
            Ok(tuning.without_stale())
        } else {
            Ok(Self { device: device.clone(), winners: Default::default(), rejected: Default::default() })
        }
    }

    /// Whatever is in the text of a file, of any device.
    fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::Argument(format!("tuning: {what}"));
        let head: Head = serde_json::from_str(text).map_err(|e| wrong(format!("this is no tuning: {e}")))?;
        if head.format.as_deref() != Some(FORMAT) {
            let found = head.format.map_or("none".to_owned(), |f| format!("`{f}`"));
            return Err(wrong(format!("the field `format` must be `{FORMAT}`, but it is {found}")));
        }
        if head.version != Some(VERSION.into()) {
            let found = head.version.map_or("none".to_owned(), |v| v.to_string());
            return Err(wrong(format!("version {found} cannot be read here, only version {VERSION}")));
        }
        let read = &mut serde_json::Deserializer::from_str(text);
        let file: Read = serde_path_to_error::deserialize(read)
            .map_err(|e| wrong(format!("{}: {}", e.path(), e.inner())))?;
        let tuning = file.tuning;
        for (key, winner) in tuning.winners() {
            for (field, n) in [("ratio", winner.ratio), ("seconds", winner.seconds)] {
                if !(n.is_finite() && n > 0.0) {
                    return Err(wrong(format!(
                        "tuning.winners.{key}.{field}: {n} is no time, nor part of one"
                    )));
                }
            }
        }
        Ok(tuning)
    }

    /// Reads a file whatever device it is of, and whatever changed since: to compare, not to plan with.
    ///
    /// # Errors
    /// [`Error::Argument`] with the file, if it cannot be read or is no tuning.
    pub fn read_any(path: &Path) -> Result<Self> {
        named(path, Self::parse)
    }

    /// Reads the tuning of a device from a file, as [`from_json`](Self::from_json) does.
    ///
    /// # Errors
    /// [`Error::Argument`] with the file, if it cannot be read, is no tuning, or is of another adapter.
    pub fn read(path: &Path, profile: &Profile) -> Result<Self> {
        read(path, &Device::of(profile))
    }

    /// Adds this to a file, and gives all that it holds then. Several processes may do so at once: each
    /// reads the file, merges and writes it anew under a lock file of its name and `.lock`, and gives it
    /// its name when it is whole, so that readers need no lock. Of two measurements of one key the newer
    /// stays. A file that is not there is made, with its folder.
    ///
    /// # Errors
    /// [`Error::Argument`] with the file: what [`read`](Self::read) says of it, then it stays as it is; if
    /// it cannot be written; if the lock file stays for ten seconds.
    pub fn merge_into(&self, path: &Path) -> Result<Self> {
        let io = |e: std::io::Error| Error::Argument(format!("tuning: {}: {e}", path.display()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io)?;
        }
        let _lock = Lock::take(path)?;
        let mut all = self.clone();
        if path.exists() {
            all = read(path, &self.device)?;
            all.merge(self)?;
        }
        whole(path, all.to_json().as_bytes()).map_err(io)?;
        Ok(all)
    }
}

fn read(path: &Path, device: &Device) -> Result<Tuning> {
    named(path, |text| Tuning::from_json(text, device))
}

/// What a file's text says, or an error with the file.
fn named(path: &Path, parse: impl FnOnce(&str) -> Result<Tuning>) -> Result<Tuning> {
    let error = |what: &dyn std::fmt::Display| Error::Argument(format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path).map_err(|e| error(&e))?;
    parse(&text).map_err(|e| error(&e))
}

/// A lock file, removed when it is dropped. It is never taken from whoever made it: two who both think
/// that it was left behind could not tell whose they remove.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let begun = Instant::now();
        loop {
            match OpenOptions::new().write(true).create_new(true).open(&lock).map(drop::<File>) {
                Ok(()) => return Ok(Self(lock)),
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::Argument(format!("tuning: {}: {e}", lock.display())));
                }
                Err(_) if begun.elapsed() > PATIENCE => {
                    return Err(Error::Argument(format!(
                        "tuning: {} is there for {} seconds: remove it if no process writes the tuning",
                        lock.display(),
                        PATIENCE.as_secs()
                    )));
                }
                Err(_) => sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If it cannot be removed, the next writer says so.
        drop(fs::remove_file(&self.0));
    }
}

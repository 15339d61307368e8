//! Start-up: the model is read while the device opens, what the driver compiled is kept in a file for
//! the next run, and a timeline says what took how long.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tachylite::Gpu;
use tachylite::gpu::{LoadTimings, OpenTimings};

use crate::{Encoder, Error, Model, Options, Result};

/// What happened when, on any thread, since the program began.
#[derive(Debug)]
pub struct Timeline {
    begun: Instant,
    spans: Mutex<Vec<(String, Duration, Duration)>>,
}

impl Timeline {
    /// A timeline that begins now.
    pub fn begin() -> Self {
        Self { begun: Instant::now(), spans: Mutex::default() }
    }

    /// Does something, and remembers when.
    pub fn time<T>(&self, what: impl Into<String>, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let value = work();
        self.since(begun, what);
        value
    }

    /// Remembers what has just been done.
    pub fn since(&self, begun: Instant, what: impl Into<String>) {
        let span = (what.into(), begun.saturating_duration_since(self.begun), self.begun.elapsed());
        lock(&self.spans).push(span);
    }

    /// Milliseconds since the program began, in the order of beginning: `begin  end  what`.
    pub fn report(&self) -> String {
        let mut spans = lock(&self.spans).clone();
        spans.sort_by_key(|(_, begun, _)| *begun);
        let line = |(what, begun, end): &(String, Duration, Duration)| {
            format!("{:9.1} {:9.1}  {what}\n", ms(*begun), ms(*end))
        };
        let lines: String = spans.iter().map(line).collect();
        format!("    begun      done  ms since the program began\n{lines}")
    }
}

/// What making and loading a plan consisted of, as text.
pub fn load_report(planning: Duration, t: &LoadTimings) -> String {
    let lines = [
        (planning, "a plan".to_owned()),
        (
            t.pipelines,
            format!(
                "its pipelines: {} made; all threads together read WGSL for {:.1} ms, and translated and \
                 compiled for {:.1} ms",
                t.pipelines_made,
                ms(t.shaders),
                ms(t.compiling)
            ),
        ),
        (t.hashing, "telling which weights are there".to_owned()),
        (t.preparing, "laying out weights".to_owned()),
        (t.uploading, format!("uploading weights: {} MiB", t.uploaded_bytes >> 20)),
        (t.binding, "scratch and bind groups".to_owned()),
    ];
    lines.iter().map(|(time, what)| format!("{:19.1}  {what}\n", ms(*time))).collect()
}

/// What opening a device consisted of, as text.
pub fn open_report(t: &OpenTimings) -> String {
    format!(
        "               took  ms\n{:19.1}  loading drivers and listing adapters\n{:19.1}  the device\n",
        ms(t.adapters),
        ms(t.device)
    )
}

/// Locks what a thread that panicked left whole.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// Reads the model and opens the device, at once.
///
/// # Errors
/// As [`Model::open`] and [`Encoder::on`]; of two errors the model's.
pub fn open(
    folder: &Path,
    options: &Options,
    cache: Option<&CacheFile>,
    times: &Timeline,
) -> Result<Encoder> {
    if options.device == "cpu" {
        return Encoder::on(Model::open_timed(folder, times)?, None, options, times);
    }
    let (model, gpu) = std::thread::scope(|scope| {
        let device = scope.spawn(|| {
            let gpu = times.time("open the device", || Gpu::open_blocking(&options.device))?;
            if let Some(file) = cache {
                times.time("read the pipeline cache", || file.restore(&gpu))?;
            }
            Ok::<Gpu, Error>(gpu)
        });
        let model = Model::open_timed(folder, times);
        (model, device.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    Encoder::on(model?, Some(gpu?), options, times)
}

/// A file with what the driver compiled in earlier runs.
#[derive(Debug)]
pub struct CacheFile {
    path: PathBuf,
    /// What was read from it, and taken.
    restored: Mutex<Vec<u8>>,
}

impl CacheFile {
    /// The file, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), restored: Mutex::default() }
    }

    /// Gives a device the file's cache, or an empty one where that cannot be used, which is said on
    /// stderr: a cache that is lost costs time and nothing else.
    ///
    /// # Errors
    /// If the device fails.
    pub fn restore(&self, gpu: &Gpu) -> Result<()> {
        let saved = match std::fs::read(&self.path) {
            Ok(saved) => saved,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                gpu.start_pipeline_cache()?;
                return Ok(());
            }
            Err(e) => return self.fresh(gpu, &e.to_string()),
        };
        #[allow(unsafe_code, reason = "a cache that a driver is to run cannot be checked wholly")]
        // SAFETY: the user named the file, as they named the program; that is who may write to both.
        // What this program did not save, or not for this device, is refused.
        let restored = unsafe { gpu.restore_pipeline_cache(&saved) };
        match restored {
            Ok(_) => {
                *lock(&self.restored) = saved;
                Ok(())
            }
            Err(e) => self.fresh(gpu, &e.to_string()),
        }
    }

    fn fresh(&self, gpu: &Gpu, why: &str) -> Result<()> {
        eprintln!("embed: `{}` is not used: {why}", self.path.display());
        gpu.start_pipeline_cache()?;
        Ok(())
    }

    /// Saves a device's cache if there is something new in it: beside the file first and then over
    /// it, so that nobody ever reads half of one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, gpu: &Gpu) -> Result<()> {
        let Some(data) = gpu.pipeline_cache() else { return Ok(()) };
        if data == *lock(&self.restored) {
            return Ok(());
        }
        let beside = self.path.with_extension(format!("{}.part", std::process::id()));
        let written = std::fs::write(&beside, &data).and_then(|()| std::fs::rename(&beside, &self.path));
        written.map_err(|e| {
            let _ = std::fs::remove_file(&beside);
            Error::new(format!("`{}` cannot be written: {e}", self.path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_is_in_the_order_of_beginning() {
        let times = Timeline::begin();
        times.time("outer", || times.time("inner", || ()));
        let report = times.report();
        let last: Vec<_> = report.lines().skip(1).filter_map(|l| l.split_whitespace().last()).collect();
        assert_eq!(last, ["outer", "inner"]);
    }

    /// On each adapter: a file that is missing, whole, cut off and foreign.
    #[test]
    fn a_cache_file_is_used_or_replaced_and_never_fatal() {
        let path = std::env::temp_dir().join(format!("embed-cache-{}", std::process::id()));
        for adapter in Gpu::adapters_blocking() {
            let open = || Gpu::open_blocking(&format!("{}:{}", adapter.backend, adapter.name)).unwrap();
            let restore = |gpu: &Gpu| {
                let file = CacheFile::new(&path);
                file.restore(gpu).unwrap();
                file
            };
            let _ = std::fs::remove_file(&path);
            let gpu = open();
            restore(&gpu).save(&gpu).unwrap();
            let Ok(whole) = std::fs::read(&path) else {
                assert_eq!(gpu.pipeline_cache(), None, "{adapter:?}");
                continue;
            };
            let gpu = open();
            let file = restore(&gpu);
            assert_eq!(*file.restored.lock().unwrap(), whole);
            for damaged in [&whole[..whole.len() - 1], b"foreign", b""] {
                std::fs::write(&path, damaged).unwrap();
                let gpu = open();
                let file = restore(&gpu);
                assert!(file.restored.lock().unwrap().is_empty() && gpu.pipeline_cache().is_some());
                file.save(&gpu).unwrap();
                assert!(std::fs::read(&path).unwrap().starts_with(&whole[..16]));
            }
            assert!(CacheFile::new(Path::new("/nowhere/at/all")).save(&gpu).is_err());
        }
        let _ = std::fs::remove_file(&path);
    }
}

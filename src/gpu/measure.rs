//! How long executables take, measured in turn. This submits and waits, on a device that was handed
//! over too; nothing of it runs in a browser, where this library has no clock.

use std::time::{Duration, Instant};

use pollster::block_on;

use crate::bench::{MOST_REPEATS, Samples, clock};
use crate::dim::Call;
use crate::error::{Error, Result};
use crate::gpu::{Executable, Gpu, Io};

/// How long to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Samples that are taken and thrown away: clocks rise, pages and caches fill.
    pub warmup: u32,
    /// At least so many samples, unless the budget is spent.
    pub least: u32,
    /// At most so many.
    pub most: u32,
    /// Enough is measured once every median is known to this fraction of itself.
    pub noise: f64,
    /// No sample is begun so long after the warm-up, but for one of each subject.
    pub budget: Duration,
    /// A sample of what is shorter holds as many runs as take about so long.
    pub sample: Duration,
}

impl Default for Effort {
    /// A second and a half of measuring, a hundred samples, half a percent.
    fn default() -> Self {
        Self {
            warmup: 2,
            least: 15,
            most: 100,
            noise: 0.005,
            budget: Duration::from_millis(1500),
            sample: Duration::from_millis(1),
        }
    }
}

impl Effort {
    /// Enough to see whether two differ by several tenths: a fifth of a second.
    pub fn quick() -> Self {
        let budget = Duration::from_millis(200);
        Self { warmup: 1, least: 5, most: 30, noise: 0.02, budget, ..Self::default() }
    }
}

/// Something to measure: one call of a plan.
///
/// Of several executables with their buffers each run takes the next, so that what they hold together
/// need not be in any cache: [`fork`](Executable::fork) one where only inputs and scratch are to differ,
/// load the plan with other weights where weights are to.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The executables, each with inputs and outputs. What those hold is what is measured. They are left in
    /// another order: first the one that would have been next.
    pub runs: &'a mut [(Executable, Io)],
    /// The call.
    pub call: &'a Call,
    /// How many runs are in a sample; `None` for as many as the effort asks.
    pub repeats: Option<u32>,
}

/// Which clock times are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// The device's timestamps at the start and end of a pass.
    Timestamps,
    /// The host's clock from a submit to the news of its end, and why.
    Wall(String),
}

/// How long a subject takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Seconds of one run, a sample each, by the clock that is believed.
    pub samples: Samples,
    /// Which clock that is.
    pub watch: Watch,
    /// Seconds of one run by the host's clock, with the run's part of the submit.
    pub wall: Samples,
    /// Runs in each sample.
    pub repeats: u32,
}

impl Gpu {
    /// Measures subjects in turn, a sample of each and then again, so that what slows the machine down
    /// slows all of them: sample `i` of one is comparable with sample `i` of another. Where the device's
    /// timestamps cannot be believed for one of them, all are by the host's clock.
    ///
    /// Submits, and waits for each sample, on a device that was handed over too. All steps of a call go
    /// into one submit, whatever the plan's segments are.
    ///
    /// # Errors
    /// [`Error::Argument`] if a subject has no executable, one that was loaded on another device (opened or
    /// adopted once more is another), or a call of another plan; [`Error::SlotsExhausted`] if recorded calls
    /// hold every slot; [`Error::OutOfMemory`]; [`Error::DeviceLost`].
    pub fn measure(&self, subjects: &mut [Subject<'_>], effort: &Effort) -> Result<Vec<Measured>> {
        self.measure_in_turn(subjects, effort, true)
    }

    /// [`measure`](Self::measure), which runs each executable once before if they are `fresh`: some drivers
    /// compile at the first run, and find memory at the first touch. Those that are not are warm, if they are
    /// alone in their subject: each runs once before each sample, untimed, so that its data are where it
    /// left them and not where the subject before it did.
    pub(super) fn measure_in_turn(
        &self,
        subjects: &mut [Subject<'_>],
        effort: &Effort,
        fresh: bool,
    ) -> Result<Vec<Measured>> {
        for subject in subjects.iter() {
            let ours = |(exe, _): &(Executable, Io)| exe.gpu().is_same(self);
            if subject.runs.is_empty() || !subject.runs.iter().all(ours) {
                return Err(Error::Argument(
                    "measure: a subject has no executable, or one that was loaded on another device".into(),
                ));
            }
        }
        let stopwatch = Stopwatch::new(self, !fresh)?;
        let empty = stopwatch.empty(self)?;
        let mut tracks: Vec<Track> = subjects.iter().map(|_| Track::default()).collect();
        for (subject, track) in subjects.iter_mut().zip(&mut tracks) {
            track.repeats = subject.repeats.unwrap_or(1).max(1);
            for _ in 0..if fresh { subject.runs.len() } else { 0 } {
                stopwatch.sample(self, subject, track)?;
            }
            let mut warmup = effort.warmup.max(1);
            while warmup > 0 {
                let (wall, _) = stopwatch.sample(self, subject, track)?;
                let one = (wall - empty).max(1e-7) / f64::from(track.repeats);
                let wanted = (effort.sample.as_secs_f64() / one).ceil().min(f64::from(MOST_REPEATS)) as u32;
                warmup -= 1;
                if subject.repeats.is_none() && wanted.max(1) > track.repeats {
                    // It may have been slow for once: look again, with more of them.
                    warmup += u32::from(track.repeats * 2 < wanted);
                    track.repeats = wanted;
                }
            }
        }
        let (mut taken, begun) = (0, Instant::now());
        while taken < effort.most.max(1) {
            for (subject, track) in subjects.iter_mut().zip(&mut tracks) {
                let (wall, gpu) = stopwatch.sample(self, subject, track)?;
                track.wall.push(wall);
                track.gpu.extend(gpu);
            }
            taken += 1;
            let quiet = tracks.iter().all(|t| t.noise() <= effort.noise);
            if taken >= effort.least && quiet || begun.elapsed() >= effort.budget {
                break;
            }
        }
        for (subject, track) in subjects.iter_mut().zip(&tracks) {
            let next = track.next % subject.runs.len();
            subject.runs.rotate_left(next);
        }
        let doubt = tracks.iter().find_map(|t| t.believed(empty).err());
        Ok(tracks.into_iter().map(|t| t.measured(doubt.as_ref())).collect())
    }
}

/// The samples of one subject.
#[derive(Default)]
struct Track {
    repeats: u32,
    /// Which run is next.
    next: usize,
    /// Seconds of whole samples.
    wall: Vec<f64>,
    /// As many, or none.
    gpu: Vec<f64>,
}

impl Track {
    fn noise(&self) -> f64 {
        let of = if self.gpu.len() == self.wall.len() { &self.gpu } else { &self.wall };
        Samples::new(of.clone()).noise()
    }

    /// Whether the device's clock may be reported, and if not, why not.
    fn believed(&self, empty: f64) -> std::result::Result<(), String> {
        if self.gpu.len() < self.wall.len() {
            return Err("the device has no timestamps".into());
        }
        clock::believable(&Samples::new(self.gpu.clone()), &Samples::new(self.wall.clone()), empty)
    }

    fn measured(self, doubt: Option<&String>) -> Measured {
        let each = |s: Vec<f64>| Samples::new(s.iter().map(|s| s / f64::from(self.repeats)).collect());
        let wall = each(self.wall);
        let (samples, watch) = match doubt {
            None => (each(self.gpu), Watch::Timestamps),
            Some(why) => (wall.clone(), Watch::Wall(why.clone())),
        };
        Measured { samples, watch, wall, repeats: self.repeats }
    }
}

/// What samples are taken with.
struct Stopwatch {
    /// Two timestamps, where they are resolved to, and where they are read; `None` without timestamps.
    queries: Option<(wgpu::QuerySet, wgpu::Buffer, wgpu::Buffer)>,
    /// Nanoseconds of a tick.
    period: f64,
    /// Whether what is alone in its subject runs before each sample.
    primes: bool,
}

/// Bytes of two timestamps.
const TICKS: u64 = 16;

impl Stopwatch {
    fn new(gpu: &Gpu, primes: bool) -> Result<Self> {
        let period = f64::from(gpu.queue().get_timestamp_period());
        if !gpu.profile().features.timestamp_query || period <= 0.0 {
            return Ok(Self { queries: None, period, primes });
        }
        let (queries, said) = gpu.scoped(|| {
            let device = gpu.device();
            let buffer = |label, usage| {
                let label = Some(label);
                let size = TICKS;
                device.create_buffer(&wgpu::BufferDescriptor {
                    label,
                    size,
                    usage,
                    mapped_at_creation: false,
                })
            };
            let set = device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("stopwatch"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            });
            let resolved = buffer("ticks", wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
            let read = buffer("ticks read", wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
            (set, resolved, read)
        });
        block_on(said)?;
        Ok(Self { queries: Some(queries), period, primes })
    }

    /// Seconds that a submit of nothing and the wait for it take: the least of a few.
    fn empty(&self, gpu: &Gpu) -> Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..5 {
            let begun = Instant::now();
            gpu.wait(gpu.queue().submit([]), 1)?;
            least = least.min(begun.elapsed().as_secs_f64());
        }
        Ok(least)
    }

    /// One sample: seconds by the host's clock, and by the device's.
    fn sample(&self, gpu: &Gpu, subject: &mut Subject<'_>, track: &mut Track) -> Result<(f64, Option<f64>)> {
        let count = subject.runs.len();
        for place in 0..count.min(track.repeats as usize) {
            let (exe, io) = &mut subject.runs[(track.next + place) % count];
            exe.stage_alone(io, subject.call)?;
        }
        let first = self.primes && count == 1;
        let (priming, said) = gpu.scoped(|| {
            first.then(|| {
                let mut encoder = gpu.device().create_command_encoder(&Default::default());
                let (exe, io) = &subject.runs[0];
                let steps = 0..exe.plan().steps.len();
                exe.issue(&mut encoder.begin_compute_pass(&Default::default()), io, steps);
                encoder.finish()
            })
        });
        block_on(said)?;
        // Now, or the writes of parameters would be part of what is timed.
        gpu.wait(gpu.queue().submit(priming), 1)?;
        let (commands, said) = gpu.scoped(|| {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let writes = self.queries.as_ref().map(|(set, ..)| wgpu::ComputePassTimestampWrites {
                query_set: set,
                beginning_of_pass_write_index: Some(0),
                end_of_pass_write_index: Some(1),
            });
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("sample"),
                timestamp_writes: writes,
            });
            for _ in 0..track.repeats {
                let (exe, io) = &subject.runs[track.next % count];
                exe.issue(&mut pass, io, 0..exe.plan().steps.len());
                track.next += 1;
            }
            drop(pass);
            encoder.finish()
        });
        block_on(said)?;
        let begun = Instant::now();
        gpu.wait(gpu.queue().submit([commands]), 1)?;
        let wall = begun.elapsed().as_secs_f64();
        Ok((wall, self.ticks(gpu)?))
    }

    /// Seconds between the last two timestamps.
    fn ticks(&self, gpu: &Gpu) -> Result<Option<f64>> {
        let Some((set, resolved, read)) = &self.queries else { return Ok(None) };
        let (submission, said) = gpu.scoped(|| {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            encoder.resolve_query_set(set, 0..2, resolved, 0);
            encoder.copy_buffer_to_buffer(resolved, 0, read, 0, TICKS);
            gpu.queue().submit([encoder.finish()])
        });
        block_on(said)?;
        let bytes = block_on(gpu.read_mapped(read, TICKS, submission, 1))?;
        let tick = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Ok(Some(tick(8).wrapping_sub(tick(0)) as i64 as f64 * self.period * 1e-9))
    }
}

//! How fast a device is: probes, and what a dispatch, a pass, a submit and a byte to or from the host cost.
//! Like all measuring this submits and waits.

use std::time::Instant;

use pollster::block_on;

use crate::bench::Samples;
use crate::error::{Error, Result};
use crate::gpu::{Effort, Executable, Gpu, Io, Subject, Watch};
use crate::plan::Role;
use crate::plan::prepare::Weights;
use crate::probe::{self, Probe, Unit};
use crate::profile::{Profile, Speeds};
use crate::rng::Rng;

/// Dispatches, or passes, that are set against one to learn what one costs.
const MANY: u32 = 128;
/// Bytes that are sent and fetched at once.
const TRANSFER: u64 = 32 << 20;

/// What a probe said.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The probe's name.
    pub name: &'static str,
    /// What it does, in a few words.
    pub what: &'static str,
    /// What was counted.
    pub unit: Unit,
    /// So much of it in a second, or seconds if the unit says so; or why it was not measured.
    pub value: std::result::Result<f64, String>,
    /// The best of the samples, likewise.
    pub best: f64,
    /// How unsure the value is, as a fraction of it.
    pub noise: f64,
    /// Which clock it is by.
    pub watch: Watch,
    /// Where the profile keeps it.
    speed: Option<fn(&mut Speeds) -> &mut f64>,
}

impl Reading {
    fn rate(probe: &Probe, samples: &Samples, watch: Watch) -> Self {
        Self {
            name: probe.name,
            what: probe.what,
            unit: probe.unit,
            value: Ok(probe.work / samples.median()),
            best: probe.work / samples.min(),
            noise: samples.noise(),
            watch,
            speed: probe.speed,
        }
    }

    fn missing(name: &'static str, why: String) -> Self {
        let (best, noise, watch) = (f64::NAN, f64::NAN, Watch::Wall(why.clone()));
        Self { name, what: "", unit: Unit::Items, value: Err(why), best, noise, watch, speed: None }
    }

    /// A time, or a rate of `work`, by the host's clock.
    fn wall(
        name: &'static str,
        what: &'static str,
        (unit, work): (Unit, f64),
        samples: &Samples,
        speed: fn(&mut Speeds) -> &mut f64,
    ) -> Self {
        let of = |s: f64| if unit == Unit::Seconds { s } else { work / s };
        Self {
            name,
            what,
            unit,
            value: Ok(of(samples.median())),
            best: of(samples.min()),
            noise: samples.noise(),
            watch: Watch::Wall("only the host sees it".into()),
            speed: Some(speed),
        }
    }
}

/// A profile's speeds with what was read in the place of what was guessed.
pub fn speeds_of(profile: &Profile, readings: &[Reading]) -> Speeds {
    let mut speeds = profile.speeds;
    for reading in readings {
        if let (Some(speed), Ok(value)) = (reading.speed, &reading.value) {
            *speed(&mut speeds) = *value;
        }
    }
    speeds
}

impl Gpu {
    /// Loads a probe, as often as it takes so that no cache holds all of its data; ready to be a
    /// [`Subject`].
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_probe(&self, probe: &Probe) -> Result<Vec<(Executable, Io)>> {
        let load = |copy: usize| -> Result<(Executable, Io)> {
            let mut exe = self.load_blocking(&probe.plan, &Weights::new(), Default::default())?;
            let io = block_on(exe.own_io())?;
            for (i, spec) in probe.plan.buffers.iter().enumerate() {
                // Outputs too: what was never written may be a page of zeros that all share.
                if matches!(spec.role, Role::Input(_) | Role::Output(_)) {
                    block_on(exe.write_buffer(i, &between_1_and_2(spec.bytes, copy as u64)))?;
                    self.wait(self.queue().submit([]), 1)?;
                }
            }
            Ok((exe, io))
        };
        (0..probe.copies.max(1)).map(load).collect()
    }

    /// Measures every probe that the device can run, and what dispatches, passes, submits and transfers
    /// cost; `tell` hears of each as it is known. Takes about twenty times the effort's budget.
    ///
    /// # Errors
    /// As [`measure`](Self::measure). A probe that does not load is a reading that says why.
    pub fn probe(&self, effort: &Effort, tell: &mut dyn FnMut(&Reading)) -> Result<Vec<Reading>> {
        let mut out = Vec::new();
        let mut said = |reading: Reading| {
            tell(&reading);
            out.push(reading);
        };
        for probe in probe::all(self.profile()) {
            said(match probe {
                Ok(probe) => self.read_one(&probe, effort)?,
                Err((name, why)) => Reading::missing(name, why),
            });
        }
        self.dispatches(effort)?.into_iter().for_each(&mut said);
        self.passes(effort)?.into_iter().for_each(&mut said);
        self.transfers(effort)?.into_iter().for_each(&mut said);
        Ok(out)
    }

    fn read_one(&self, probe: &Probe, effort: &Effort) -> Result<Reading> {
        let mut runs = match self.load_probe(probe) {
            Ok(runs) => runs,
            Err(e @ Error::DeviceLost(_)) => return Err(e),
            Err(e) => return Ok(Reading::missing(probe.name, e.to_string())),
        };
        let call = probe.plan.call(&[])?;
        let subject = Subject { runs: &mut runs, call: &call, repeats: None };
        let measured = self.measure(&mut [subject], effort)?;
        Ok(measured
            .into_iter()
            .map(|m| Reading::rate(probe, &m.samples, m.watch))
            .next()
            .unwrap_or_else(|| Reading::missing(probe.name, "nothing was measured".into())))
    }

    /// A dispatch, and one that waits: many against one, so that pass and submit fall out.
    fn dispatches(&self, effort: &Effort) -> Result<[Reading; 2]> {
        let [empty, dependent] = probe::idle();
        let call = empty.plan.call(&[])?;
        let mut runs = [self.load_probe(&empty)?, self.load_probe(&empty)?, self.load_probe(&dependent)?];
        let [one, many, waiting] = &mut runs;
        let subject = |runs, repeats| Subject { runs, call: &call, repeats: Some(repeats) };
        let mut subjects = [subject(one, 1), subject(many, MANY), subject(waiting, MANY)];
        let measured = self.measure(&mut subjects, effort)?;
        let [one, many, waiting] = measured.as_slice() else {
            return Err(Error::Argument("measure: three subjects, but not as many answers".into()));
        };
        let times = |m: &Samples, minus: &Samples, n: f64, less: f64| -> Samples {
            let pairs = m.seconds().iter().zip(minus.seconds());
            Samples::new(pairs.map(|(m, s)| ((m * n - s * less) / (n - less)).max(0.0)).collect())
        };
        let n = f64::from(MANY);
        let dispatch = times(&many.samples, &one.samples, n, 1.0);
        let pairs = waiting.samples.seconds().iter().zip(many.samples.seconds());
        let barrier = Samples::new(pairs.map(|(w, m)| (w - m).max(0.0)).collect());
        let reading = |name, what, samples: &Samples, speed| {
            let mut reading = Reading::wall(name, what, (Unit::Seconds, 1.0), samples, speed);
            reading.watch = many.watch.clone();
            reading
        };
        Ok([
            reading("dispatch", "one more dispatch in a pass", &dispatch, |s| &mut s.dispatch_s),
            reading("barrier", "and if it waits for the last", &barrier, |s| &mut s.barrier_s),
        ])
    }

    /// A pass, and a submit: of passes that hold one dispatch of nothing.
    fn passes(&self, effort: &Effort) -> Result<[Reading; 2]> {
        let [empty, _] = probe::idle();
        let call = empty.plan.call(&[])?;
        let mut runs = self.load_probe(&empty)?;
        let mut timed = |passes: u32| -> Result<f64> {
            let (exe, io) = &mut runs[0];
            exe.stage_alone(io, &call)?;
            let (commands, said) = self.scoped(|| {
                let mut encoder = self.device().create_command_encoder(&Default::default());
                for _ in 0..passes {
                    exe.issue(&mut encoder.begin_compute_pass(&Default::default()), io, 0..1);
                }
                encoder.finish()
            });
            block_on(said)?;
            self.timed(|| self.wait(self.queue().submit([commands]), 1))
        };
        let (mut submit, mut pass) = (Samples::default(), Samples::default());
        let begun = Instant::now();
        for i in 0..effort.most.max(1) + effort.warmup {
            let (one, many) = (timed(1)?, timed(MANY)?);
            if i >= effort.warmup {
                submit.push(one);
                pass.push((many - one).max(0.0) / f64::from(MANY - 1));
            }
            if i >= effort.least + effort.warmup && begun.elapsed() > effort.budget {
                break;
            }
        }
        let seconds = (Unit::Seconds, 1.0);
        Ok([
            Reading::wall("pass", "one more pass in a submit", seconds, &pass, |s| &mut s.pass_s),
            Reading::wall("submit", "a submit, until its end is known", seconds, &submit, |s| {
                &mut s.submit_s
            }),
        ])
    }

    /// Bytes to a buffer and back, until they are there.
    fn transfers(&self, effort: &Effort) -> Result<[Reading; 2]> {
        let bytes = TRANSFER.min(self.profile().limits.buffer_bytes);
        let data = between_1_and_2(bytes, 0);
        let ((buffer, staging), said) = self.scoped(|| {
            let staging = self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("fetched"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            (self.storage("sent", bytes), staging)
        });
        block_on(said)?;
        let (mut up, mut down) = (Samples::default(), Samples::default());
        let begun = Instant::now();
        for i in 0..effort.most.max(1) + 1 {
            let sent = self.timed(|| {
                self.queue().write_buffer(&buffer, 0, &data);
                self.wait(self.queue().submit([]), 1)
            })?;
            let fetched = self.timed(|| {
                let mut encoder = self.device().create_command_encoder(&Default::default());
                encoder.copy_buffer_to_buffer(&buffer, 0, &staging, 0, bytes);
                let submission = self.queue().submit([encoder.finish()]);
                block_on(self.read_mapped(&staging, bytes, submission, 1)).map(|_| ())
            })?;
            if i > 0 {
                up.push(sent);
                down.push(fetched);
            }
            if i >= effort.least.min(5) && begun.elapsed() > effort.budget {
                break;
            }
        }
        let rate = (Unit::Bytes, bytes as f64);
        Ok([
            Reading::wall("upload", "from the host into a buffer", rate, &up, |s| &mut s.upload_bytes_per_s),
            Reading::wall("readback", "from a buffer to the host", rate, &down, |s| {
                &mut s.readback_bytes_per_s
            }),
        ])
    }

    fn timed(&self, work: impl FnOnce() -> Result<()>) -> Result<f64> {
        let begun = Instant::now();
        work()?;
        Ok(begun.elapsed().as_secs_f64())
    }
}

/// Random f32 in [1, 2), as bytes; read as f16 they are in [1, 2) too.
fn between_1_and_2(bytes: u64, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let pair = || (rng.next_u64() & 0x007f_03ff_007f_03ff | 0x3f80_3c00_3f80_3c00).to_le_bytes();
    let mut out: Vec<u8> = std::iter::repeat_with(pair).take(bytes.div_ceil(8) as usize).flatten().collect();
    out.truncate(bytes as usize);
    out
}

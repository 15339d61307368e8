//! Loading: from a plan and its weights to what runs. Everything that can be refused is refused
//! here, so that recording a call has nothing left to ask.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::gpu::executable::{Executable, Loaded};
use crate::gpu::timings::{Clock, LoadTimings};
use crate::gpu::{Gpu, lock};
use crate::plan::prepare::{PIECE_BYTES, Pieces, Store};
use crate::plan::{Plan, Role, WeightSpec};

/// Submits with this many bytes of weights each may be on their way to the device: the copies that drivers make of
/// them stay small.
const ON_THEIR_WAY: usize = 2;

/// How far the weights of a plan are on their way to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uploaded {
    /// Bytes that are there, or on their way.
    pub done: u64,
    /// Of so many: weights that are there already do not count.
    pub total: u64,
}

/// How a plan is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// How many calls can be recorded before a submit.
    pub slots: u32,
    /// Bytes that every buffer is longer than the plan says, within what kernels can reach: where
    /// stray writes show. A multiple of 16. With any, weights are not shared between loads.
    pub guard_bytes: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { slots: 8, guard_bytes: 0 }
    }
}

impl Gpu {
    /// Loads a plan: makes its pipelines, fills its weights, allocates its scratch.
    ///
    /// Executables of one `Gpu` share pipelines of the same text and weights of the same bytes.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device's limits are below what the plan needs, [`Error::Argument`] or
    /// [`Error::Shape`] for weights that do not fit, [`Error::OutOfMemory`], [`Error::Validation`] if
    /// a shader is refused (with the kernel and its line), [`Error::DeviceLost`].
    pub async fn load(&self, plan: &Plan, weights: &dyn Store, options: LoadOptions) -> Result<Executable> {
        self.load_telling(plan, weights, options, &mut |_| {}).await
    }

    /// [`Gpu::load`], telling how far it is with weights, after each piece of about 8 MiB.
    ///
    /// Of weights that a [`Store`] does not hold in memory no more is there than three such pieces, or three times
    /// a panel of 128 columns if that is more, besides 24 MiB of copies in the driver. A device that was handed
    /// over is not submitted to: its owner's next submit carries copies of all of them; and where there is
    /// nothing to wait with, as on the web, what the queue holds is the browser's business.
    ///
    /// # Errors
    /// As [`Gpu::load`].
    pub async fn load_telling(
        &self,
        plan: &Plan,
        weights: &dyn Store,
        options: LoadOptions,
        tell: &mut dyn FnMut(Uploaded),
    ) -> Result<Executable> {
        if options.slots == 0 || !options.guard_bytes.is_multiple_of(16) {
            return Err(Error::Argument(format!(
                "load: {} slots and {} guard bytes, but there must be a slot, and a multiple of 16 bytes",
                options.slots, options.guard_bytes
            )));
        }
        if self.is_own() {
            // Frees what finished work held, and tells our callback if the device was destroyed.
            self.poll(wgpu::PollType::Poll);
        }
        self.alive()?;
        plan.check_references()?;
        plan.check_limits(&self.profile().limits, options.guard_bytes)?;
        let (mut whole, mut part, mut times) = (Clock::start(), Clock::start(), LoadTimings::default());
        let pipelines = self.pipelines(&plan.kernels, plan.policy.trusted, &mut times).await?;
        times.pipelines = part.lap();
        let weights = self.weights(plan, weights, options.guard_bytes, (&mut times, tell)).await?;
        part.lap();
        let loaded = Loaded { gpu: self.clone(), plan: plan.clone(), pipelines, weights, options };
        let mut executable = Executable::new(Arc::new(loaded)).await?;
        times.binding = part.lap();
        times.total = whole.lap();
        executable.timings = times;
        Ok(executable)
    }

    /// [`Gpu::load`], blocking.
    ///
    /// # Errors
    /// As [`Gpu::load`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_blocking(
        &self,
        plan: &Plan,
        weights: &dyn Store,
        options: LoadOptions,
    ) -> Result<Executable> {
        pollster::block_on(self.load(plan, weights, options))
    }

    /// The buffers of a plan's weights, filled; those that exist already are shared.
    async fn weights(
        &self,
        plan: &Plan,
        given: &dyn Store,
        guard_bytes: u64,
        (times, tell): (&mut LoadTimings, &mut dyn FnMut(Uploaded)),
    ) -> Result<Vec<Arc<wgpu::Buffer>>> {
        let mut clock = Clock::start();
        let keys = self.fingerprints(&plan.weights, given)?;
        times.hashing = clock.lap();
        let mut out: Vec<Option<Arc<wgpu::Buffer>>> = {
            let known = lock(&self.0.weights);
            let share = |key: &[u64; 2]| (guard_bytes == 0).then(|| known.get(key)?.upgrade()).flatten();
            keys.iter().map(share).collect()
        };
        let missing: Vec<usize> = (0..out.len()).filter(|i| out[*i].is_none()).collect();
        // All are allocated before any is filled, so that running out costs no upload.
        let (made, said) = self.scoped(|| {
            let make = |i: &usize| self.storage("weight", plan.weights[*i].bytes.max(16) + guard_bytes);
            missing.iter().map(make).collect::<Vec<_>>()
        });
        said.await?;
        let total = missing.iter().map(|i| plan.weights[*i].bytes).sum();
        let mut upload = Upload { gpu: self, waits: 0, submitted: VecDeque::new() };
        for (i, buffer) in missing.iter().zip(made) {
            for piece in Pieces::new(&plan.weights[*i], given)? {
                let piece = piece?;
                times.preparing += clock.lap();
                for (at, bytes) in piece {
                    upload.write(&buffer, at, &bytes).await?;
                    times.uploaded_bytes += bytes.len() as u64;
                    tell(Uploaded { done: times.uploaded_bytes, total });
                }
                times.uploading += clock.lap();
            }
            let buffer = Arc::new(buffer);
            if guard_bytes == 0 {
                lock(&self.0.weights).insert(keys[*i], Arc::downgrade(&buffer));
            }
            out[*i] = Some(buffer);
        }
        lock(&self.0.weights).retain(|_, b| b.strong_count() > 0);
        Ok(out.into_iter().flatten().collect())
    }

    /// What the buffers of weights will hold, as two keyed hashes each of how it is made and from which bytes.
    fn fingerprints(&self, specs: &[WeightSpec], given: &dyn Store) -> Result<Vec<[u64; 2]>> {
        let mut last: Option<(&WeightSpec, [DefaultHasher; 2])> = None;
        let mut out = Vec::with_capacity(specs.len());
        for spec in specs {
            // Blocks are two buffers, one after the other: they are read once.
            let same = last.take().filter(|(l, _)| (&l.sources, &l.rows) == (&spec.sources, &spec.rows));
            let hashers = same.map_or_else(|| self.hashed(spec, given), |(_, hashers)| Ok(hashers))?;
            out.push(hashers.clone().map(|mut h| {
                (spec.form, spec.bytes).hash(&mut h);
                h.finish()
            }));
            last = Some((spec, hashers));
        }
        Ok(out)
    }

    /// The bytes of a weight's tensors, hashed.
    fn hashed(&self, spec: &WeightSpec, given: &dyn Store) -> Result<[DefaultHasher; 2]> {
        let mut hashers: [DefaultHasher; 2] = [self.0.keys[0].build_hasher(), self.0.keys[1].build_hasher()];
        for h in &mut hashers {
            (&spec.rows, spec.sources.len()).hash(h);
            spec.sources.iter().for_each(|source| (source.dtype, &source.shape).hash(h));
        }
        for bytes in Pieces::new(spec, given)?.sources() {
            let bytes = bytes?;
            hashers.iter_mut().for_each(|h| h.write(&bytes));
        }
        Ok(hashers)
    }

    /// A buffer that kernels bind and hosts can write and read.
    pub(super) fn storage(&self, label: &str, bytes: u64) -> wgpu::Buffer {
        self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }
}

/// Weights on their way to a device.
struct Upload<'a> {
    gpu: &'a Gpu,
    /// Bytes that were written since the last submit.
    waits: u64,
    /// The last submits, the oldest first.
    submitted: VecDeque<wgpu::SubmissionIndex>,
}

impl Upload<'_> {
    /// Writes to a buffer, and waits for earlier writes where many are on their way. A device that was handed over
    /// is not submitted to: its owner's next submit carries the bytes.
    async fn write(&mut self, buffer: &wgpu::Buffer, at: u64, bytes: &[u8]) -> Result<()> {
        let gpu = self.gpu;
        // Before it would be too much, not after: pieces that are just too small to fill a submit come in twos.
        let after = self.waits + bytes.len() as u64;
        let submits = gpu.is_own() && self.waits > 0 && after > PIECE_BYTES;
        let (submitted, said) = gpu.scoped(|| {
            let submitted = submits.then(|| gpu.queue().submit([]));
            gpu.queue().write_buffer(buffer, at, bytes);
            submitted
        });
        said.await?;
        self.waits = if submits { bytes.len() as u64 } else { after };
        if let Some(index) = submitted {
            self.submitted.push_back(index);
            if self.submitted.len() > ON_THEIR_WAY
                && let Some(oldest) = self.submitted.pop_front()
            {
                gpu.wait(oldest, 1)?;
            }
        }
        gpu.alive()
    }
}

impl Loaded {
    /// The buffers that every executable has for itself or shares, by place in the plan; `None` for
    /// inputs and outputs.
    pub(super) async fn buffers(&self) -> Result<Vec<Option<wgpu::Buffer>>> {
        let (buffers, said) = self.gpu.scoped(|| {
            let make = |i: usize| match self.plan.buffers[i].role {
                Role::Input(_) | Role::State(_) | Role::Output(_) => None,
                Role::Weight(w) => Some(wgpu::Buffer::clone(&self.weights[w])),
                Role::Scratch => Some(self.gpu.storage("scratch", self.bytes(i))),
            };
            (0..self.plan.buffers.len()).map(make).collect()
        });
        said.await?;
        Ok(buffers)
    }
}

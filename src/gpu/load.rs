//! Loading: from a plan and its weights to what runs. Everything that can be refused is refused
//! here, so that recording a call has nothing left to ask.

use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::gpu::executable::{Executable, Loaded};
use crate::gpu::timings::{Clock, LoadTimings};
use crate::gpu::{Gpu, lock};
use crate::plan::prepare::{Weights, prepared};
use crate::plan::{Plan, Role, WeightSpec};

/// Weights are uploaded in pieces of this many bytes, so that the copy on its way stays small.
const UPLOAD_BYTES: usize = 64 << 20;

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
    pub async fn load(&self, plan: &Plan, weights: &Weights, options: LoadOptions) -> Result<Executable> {
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
        let weights = self.weights(plan, weights, options.guard_bytes, &mut times).await?;
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
    pub fn load_blocking(&self, plan: &Plan, weights: &Weights, options: LoadOptions) -> Result<Executable> {
        pollster::block_on(self.load(plan, weights, options))
    }

    /// The buffers of a plan's weights, filled; those that exist already are shared.
    async fn weights(
        &self,
        plan: &Plan,
        given: &Weights,
        guard_bytes: u64,
        times: &mut LoadTimings,
    ) -> Result<Vec<Arc<wgpu::Buffer>>> {
        let mut clock = Clock::start();
        let keys: Vec<_> = plan.weights.iter().map(|spec| self.fingerprint(spec, given)).collect();
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
        for (i, buffer) in missing.iter().zip(made) {
            times.uploading += clock.lap();
            let bytes = prepared(&plan.weights[*i], given)?;
            times.preparing += clock.lap();
            self.upload(&buffer, &bytes).await?;
            times.uploaded_bytes += bytes.len() as u64;
            let buffer = Arc::new(buffer);
            if guard_bytes == 0 {
                lock(&self.0.weights).insert(keys[*i], Arc::downgrade(&buffer));
            }
            out[*i] = Some(buffer);
        }
        times.uploading += clock.lap();
        lock(&self.0.weights).retain(|_, b| b.strong_count() > 0);
        Ok(out.into_iter().flatten().collect())
    }

    /// What a weight's buffer will hold, as two keyed hashes of how it is made and from which bytes.
    fn fingerprint(&self, spec: &WeightSpec, given: &Weights) -> [u64; 2] {
        let mut hashers: [DefaultHasher; 2] = [self.0.keys[0].build_hasher(), self.0.keys[1].build_hasher()];
        for h in &mut hashers {
            (spec.form, spec.bytes, spec.sources.len()).hash(h);
            for source in &spec.sources {
                (source.dtype, &source.shape).hash(h);
                if let Some(tensor) = given.get(&source.name) {
                    (tensor.dtype(), tensor.shape()).hash(h);
                    match tensor.as_bytes() {
                        Some(bytes) => h.write(bytes),
                        None => h.write(&tensor.to_bytes()),
                    }
                }
            }
        }
        hashers.map(|h| h.finish())
    }

    /// Fills a buffer from its start. A device that was handed over is not submitted to: its owner's
    /// next submit carries the bytes.
    async fn upload(&self, buffer: &wgpu::Buffer, bytes: &[u8]) -> Result<()> {
        for (i, piece) in bytes.chunks(UPLOAD_BYTES).enumerate() {
            let ((), said) = self.scoped(|| {
                self.queue().write_buffer(buffer, (i * UPLOAD_BYTES) as u64, piece);
                if self.is_own() && bytes.len() > UPLOAD_BYTES {
                    self.queue().submit([]);
                }
            });
            said.await?;
            if self.is_own() && bytes.len() > UPLOAD_BYTES {
                self.poll(wgpu::PollType::Poll);
            }
        }
        self.alive()
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

impl Loaded {
    /// The buffers that every executable has for itself or shares, by place in the plan; `None` for
    /// inputs and outputs.
    pub(super) async fn buffers(&self) -> Result<Vec<Option<wgpu::Buffer>>> {
        let (buffers, said) = self.gpu.scoped(|| {
            let make = |i: usize| match self.plan.buffers[i].role {
                Role::Input(_) | Role::Output(_) => None,
                Role::Weight(w) => Some(wgpu::Buffer::clone(&self.weights[w])),
                Role::Scratch => Some(self.gpu.storage("scratch", self.bytes(i))),
            };
            (0..self.plan.buffers.len()).map(make).collect()
        });
        said.await?;
        Ok(buffers)
    }
}

//! Plans on wgpu: the only room that names it.
//!
//! [`Gpu`] is a device; [`Executable`] a plan loaded on it. A device that was handed over stays its
//! owner's: nothing here installs a callback on it, and recording neither submits nor polls.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::error::{Error, Result};
use crate::profile::{Profile, Speeds};
use crate::quirks::Quirk;

mod adapter;
#[cfg(not(target_arch = "wasm32"))]
mod bench;
mod bind;
mod cache;
mod executable;
mod fresh;
mod load;
#[cfg(not(target_arch = "wasm32"))]
mod measure;
mod pipeline;
#[cfg(not(target_arch = "wasm32"))]
mod probes;
mod run;
mod scope;
mod timings;
mod trusted;
#[cfg(not(target_arch = "wasm32"))]
mod tune;
mod wait;

#[cfg(not(target_arch = "wasm32"))]
pub use bench::{Bench, BenchOptions, Cold};
pub use executable::{Executable, Io};
pub use load::{LoadOptions, Uploaded};
#[cfg(not(target_arch = "wasm32"))]
pub use measure::{Effort, Measured, Subject, Watch};
#[cfg(not(target_arch = "wasm32"))]
pub use probes::{Reading, speeds_of};
pub use timings::{LoadTimings, OpenTimings};
#[cfg(not(target_arch = "wasm32"))]
pub use tune::Tuned;

use pipeline::Pipeline;
use timings::Clock;

/// A device, with what executables loaded on it share: pipelines and weights. Cloning is cheap.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    profile: Profile,
    opened: OpenTimings,
    /// Why our own device was lost; `None` for a device that was handed over.
    lost: Option<Arc<OnceLock<String>>>,
    /// The name that our own device was asked for by; `None` likewise.
    name: Option<Arc<str>>,
    /// Shared by all handles of a device, and by no others.
    which: Arc<()>,
    /// Pipelines by WGSL text, while an executable holds them: those with checks, those without.
    pipelines: Mutex<[HashMap<String, Weak<Pipeline>>; 2]>,
    /// The pipeline cache that pipelines are made through, once there is one.
    cache: OnceLock<wgpu::PipelineCache>,
    /// Weights' buffers by fingerprint, while an executable holds them.
    weights: Mutex<HashMap<[u64; 2], Weak<wgpu::Buffer>>>,
    /// Two keys of the fingerprint, drawn at random: nobody can make weights that collide.
    keys: [RandomState; 2],
}

impl Gpu {
    /// The adapters that can run plans, best first.
    pub async fn adapters() -> Vec<Profile> {
        adapter::all(wgpu::Backends::all()).await.into_iter().map(|(profile, _)| profile).collect()
    }

    /// Opens an adapter with a device of our own.
    ///
    /// `gpu` is the best there is; `vulkan:llvmpipe` the best of that backend (`vulkan`, `metal`,
    /// `dx12`, `gl`, `browser`) with this in its adapter's or driver's name; `llvmpipe` the best with
    /// this in its name. Case does not matter.
    ///
    /// # Errors
    /// [`Error::Adapter`] if there is none of that name, with those there are, or it does not open.
    pub async fn open(name: &str) -> Result<Self> {
        let mut clock = Clock::start();
        let (profile, adapter) = adapter::find(name).await?;
        let adapters = clock.lap();
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("tachylite"),
                required_features: adapter.features() & adapter::used_features(),
                required_limits: adapter.limits(),
                experimental_features: adapter::experimental(),
                memory_hints: wgpu::MemoryHints::Performance,
                trace: wgpu::Trace::Off,
            })
            .await
            .map_err(|e| {
                Error::Adapter(format!("{} ({}) does not open: {e}", profile.name, profile.backend))
            })?;
        let lost = Arc::new(OnceLock::new());
        let told = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            let _ = told.set(if message.is_empty() {
                format!("{reason:?}")
            } else {
                format!("{reason:?}: {message}")
            });
        });
        let mut profile = adapter::profile(&device.adapter_info(), device.features(), &device.limits());
        adapter::add_matrices(&mut profile, &adapter, device.features());
        let opened = OpenTimings { adapters, device: clock.lap() };
        Ok(Self::new(device, queue, profile, opened, Some((name.into(), lost))))
    }

    /// Uses a device that the caller owns. Nothing is installed on it; its features and limits are
    /// what plans for it are made within.
    ///
    /// # Errors
    /// [`Error::Adapter`] if its limits leave nothing to compute with.
    pub fn adopt(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        let profile = adapter::profile(&device.adapter_info(), device.features(), &device.limits());
        if profile.limits.storage_buffers_per_stage == 0 || profile.limits.workgroup_invocations == 0 {
            return Err(Error::Adapter(format!(
                "{} was handed over with limits of {} storage buffers and {} invocations, \
                 which is too little to compute",
                profile.name, profile.limits.storage_buffers_per_stage, profile.limits.workgroup_invocations
            )));
        }
        Ok(Self::new(device, queue, profile, OpenTimings::default(), None))
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        profile: Profile,
        opened: OpenTimings,
        own: Option<(Arc<str>, Arc<OnceLock<String>>)>,
    ) -> Self {
        let (pipelines, cache, weights, keys, which) = Default::default();
        let (name, lost) = own.unzip();
        Self(Arc::new(Inner {
            device,
            queue,
            profile,
            opened,
            lost,
            name,
            which,
            pipelines,
            cache,
            weights,
            keys,
        }))
    }

    /// The same adapter opened once more, from an instance of its own: what is known of it is the same, and
    /// nothing else is shared. `None` for a device that was handed over.
    ///
    /// # Errors
    /// As [`Gpu::open`]; [`Error::Adapter`] too if its name means another one by now.
    #[cfg(not(target_arch = "wasm32"))]
    fn reopened(&self) -> Result<Option<Self>> {
        let Some(name) = &self.0.name else { return Ok(None) };
        let other = Self::open_blocking(name)?;
        let is = |p: &Profile| (p.backend.clone(), p.name.clone(), p.driver.clone(), p.vendor, p.device);
        let (before, now) = (is(self.profile()), is(other.profile()));
        if before != now {
            return Err(Error::Adapter(format!(
                "`{name}` was {}:{} ({}) when it was opened, and is {}:{} ({}) when it is opened again",
                before.0, before.1, before.2, now.0, now.1, now.2
            )));
        }
        Ok(Some(other.with_profile(self.profile().clone())))
    }

    /// The same device with other [`quirks`](crate::quirks): those that its owner knows of, or none. Only
    /// executables of the same handle, or its clones, share pipelines and weights.
    pub fn with_quirks(&self, quirks: Vec<&'static Quirk>) -> Self {
        self.with_profile(Profile { quirks, ..self.profile().clone() })
    }

    /// The same device with speeds that were measured, so that plans for it are chosen by them: see
    /// [`probe`](Self::probe) and [`speeds_of`]. Sharing is as with [`with_quirks`](Self::with_quirks).
    pub fn with_speeds(&self, speeds: Speeds) -> Self {
        self.with_profile(Profile { speeds, ..self.profile().clone() })
    }

    fn with_profile(&self, profile: Profile) -> Self {
        let Inner { device, queue, opened, lost, name, which, cache, .. } = &*self.0;
        let (pipelines, weights, keys) = Default::default();
        Self(Arc::new(Inner {
            device: device.clone(),
            queue: queue.clone(),
            profile,
            opened: *opened,
            lost: lost.clone(),
            name: name.clone(),
            which: which.clone(),
            pipelines,
            cache: cache.clone(),
            weights,
            keys,
        }))
    }

    /// What it is, as data: what plans for it are made from.
    pub fn profile(&self) -> &Profile {
        &self.0.profile
    }

    /// Where opening it spent its time; zero if it was handed over.
    pub fn timings(&self) -> &OpenTimings {
        &self.0.opened
    }

    /// The wgpu device.
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    /// The wgpu queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// Whether both are handles of one device.
    #[cfg(not(target_arch = "wasm32"))]
    fn is_same(&self, other: &Self) -> bool {
        // wgpu's own comparison calls devices of two instances the same.
        Arc::ptr_eq(&self.0.which, &other.0.which)
    }

    /// Whether the device is ours, and not handed over.
    fn is_own(&self) -> bool {
        self.0.lost.is_some()
    }

    /// An error if our own device is known to be lost.
    fn alive(&self) -> Result<()> {
        match self.0.lost.as_ref().and_then(|l| l.get()) {
            Some(why) => Err(Error::DeviceLost(why.clone())),
            None => Ok(()),
        }
    }
}

/// For callers that are not async.
#[cfg(not(target_arch = "wasm32"))]
impl Gpu {
    /// [`Gpu::adapters`], blocking.
    pub fn adapters_blocking() -> Vec<Profile> {
        pollster::block_on(Self::adapters())
    }

    /// [`Gpu::open`], blocking.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub fn open_blocking(name: &str) -> Result<Self> {
        pollster::block_on(Self::open(name))
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gpu({}, {})", self.0.profile.name, self.0.profile.backend)
    }
}

/// Locks a cache. A thread that panicked while it held the lock left it whole: entries are only
/// ever inserted or dropped.
fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

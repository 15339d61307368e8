//! Where loading spends its time.

use std::time::Duration;

/// Where [`Gpu::load`](crate::Gpu::load) spent its time. All zero in a browser, where this library
/// has no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadTimings {
    /// From the call of `load` to its return.
    pub total: Duration,
    /// Making the pipelines that were not there yet, on several threads: from the first to the last.
    pub pipelines: Duration,
    /// Part of `pipelines`, summed over the threads: WGSL read and validated.
    pub shaders: Duration,
    /// Part of `pipelines`, summed over the threads: shaders translated, and compiled by the driver.
    pub compiling: Duration,
    /// Pipelines that were made; the plan's others were there already.
    pub pipelines_made: usize,
    /// Telling which weights are on the device already, by hashing their bytes.
    pub hashing: Duration,
    /// Bringing weights into the layout that the plan wants.
    pub preparing: Duration,
    /// Allocating the buffers of weights and handing their bytes to the queue.
    pub uploading: Duration,
    /// Bytes of weights that were uploaded; the plan's others were there already.
    pub uploaded_bytes: u64,
    /// Allocating scratch and parameters, and binding them.
    pub binding: Duration,
}

/// Where [`Gpu::open`](crate::Gpu::open) spent its time. All zero in a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenTimings {
    /// Loading drivers and listing their adapters.
    pub adapters: Duration,
    /// Making the device.
    pub device: Duration,
}

/// A stopwatch; in a browser it stands still.
pub(super) struct Clock(#[cfg(not(target_arch = "wasm32"))] std::time::Instant);

impl Clock {
    pub fn start() -> Self {
        Self(
            #[cfg(not(target_arch = "wasm32"))]
            std::time::Instant::now(),
        )
    }

    /// The time since it was started, or since the last lap.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn lap(&mut self) -> Duration {
        let now = std::time::Instant::now();
        now - std::mem::replace(&mut self.0, now)
    }

    #[cfg(target_arch = "wasm32")]
    pub fn lap(&mut self) -> Duration {
        Duration::ZERO
    }
}

//! Error scopes: what WebGPU says of a few calls, as a value. Never lets an error reach the
//! device's uncaptured-error handler, which is the owner's and by default panics.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};
use crate::gpu::Gpu;

impl Gpu {
    /// Makes calls within error scopes; the future says what came of them.
    ///
    /// Scopes belong to a thread, so the calls are made at once and only the answer is awaited.
    pub(super) fn scoped<T, F: FnOnce() -> T>(
        &self,
        calls: F,
    ) -> (T, impl Future<Output = Result<()>> + use<T, F>) {
        let (value, said) = scopes(self.device(), calls);
        let gpu = self.clone();
        (value, async move {
            match said.await {
                None => Ok(()),
                Some(_) if gpu.is_lost() => Err(gpu.lost("it takes no more calls")),
                Some(wgpu::Error::OutOfMemory { source }) => {
                    Err(Error::OutOfMemory(one_line(&source.to_string())))
                }
                Some(e) => Err(Error::Validation(one_line(&e.to_string()))),
            }
        })
    }

    /// Whether the device is lost. wgpu is silent about calls on a lost device and then finds what
    /// they made invalid, and a device that was handed over has no callback of ours; but a lost
    /// device cannot map a buffer.
    fn is_lost(&self) -> bool {
        if self.is_own() {
            // One that was destroyed says so when it is polled.
            self.poll(wgpu::PollType::Poll);
        }
        let failed = Arc::new(AtomicBool::new(self.alive().is_err()));
        let told = failed.clone();
        let (probe, _) = scopes(self.device(), || {
            let probe = self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("probe"),
                size: 16,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            probe.map_async(wgpu::MapMode::Read, .., move |answer| {
                told.store(answer.is_err(), Ordering::Relaxed)
            });
            probe
        });
        let lost = failed.load(Ordering::Relaxed);
        drop(probe); // only now, for dropping it fails the mapping too
        lost
    }

    /// Why the device was lost: what it said, or `else_why` if it said nothing.
    pub(super) fn lost(&self, else_why: &str) -> Error {
        self.alive().err().unwrap_or_else(|| Error::DeviceLost(else_why.to_owned()))
    }
}

/// Makes calls within scopes for every kind of error; the future has the one that explains most.
fn scopes<T, F: FnOnce() -> T>(
    device: &wgpu::Device,
    calls: F,
) -> (T, impl Future<Output = Option<wgpu::Error>> + use<T, F>) {
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let value = calls();
    let internal = internal.pop();
    let memory = memory.pop();
    let validation = validation.pop();
    (value, async move {
        let (internal, memory, validation) = (internal.await, memory.await, validation.await);
        // What failed for want of memory makes later calls invalid, so memory is named first.
        memory.or(internal).or(validation)
    })
}

/// The answer of [`Gpu::scoped`] if it is known already, as it is wherever WebGPU runs in this
/// process. In a browser it may not be; the error then shows when the objects are used.
pub(super) fn answer_now(said: impl Future<Output = Result<()>>) -> Result<()> {
    match pin!(said).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Ok(()),
    }
}

/// A message of several lines as one sentence.
pub(super) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).fold(String::new(), |all, l| match all.as_str() {
        "" => l.to_owned(),
        head if head.ends_with(':') => format!("{head} {l}"),
        head => format!("{head}: {l}"),
    })
}

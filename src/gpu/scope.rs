//! Error scopes: what WebGPU says of a few calls, as a value. Never lets an error reach the
//! device's uncaptured-error handler, which is the owner's and by default panics.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};

/// Makes calls within error scopes; the future says what came of them.
///
/// Scopes belong to a thread, so the calls are made at once and only the answer is awaited.
pub(super) fn scoped<T>(
    device: &wgpu::Device,
    calls: impl FnOnce() -> T,
) -> (T, impl Future<Output = Result<()>> + use<T>) {
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
        match memory.or(internal).or(validation) {
            None => Ok(()),
            Some(wgpu::Error::OutOfMemory { source }) => Err(Error::OutOfMemory(one_line(&source.to_string()))),
            Some(e) => Err(Error::Validation(one_line(&e.to_string()))),
        }
    })
}

/// The answer of [`scoped`] if it is known already, as it is wherever WebGPU runs in this process.
/// In a browser it may not be; the error then shows when the objects are used.
pub(super) fn answer_now(said: impl Future<Output = Result<()>>) -> Result<()> {
    match pin!(said).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Ok(()),
    }
}

/// A message of several lines as one sentence.
pub(super) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(": ")
}

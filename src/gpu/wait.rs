//! Waiting for the device, and reading its buffers. On native targets this polls and so blocks the
//! thread; in a browser the event loop does it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::error::{Error, Result};
use crate::gpu::{Gpu, lock};

/// How long a submit may take before the device counts as hung.
#[cfg(not(target_arch = "wasm32"))]
const PATIENCE_PER_SUBMIT: std::time::Duration = std::time::Duration::from_secs(120);

/// What a map callback leaves: its answer, and who waits for it.
type Mapped = Mutex<(Option<Result<(), wgpu::BufferAsyncError>>, Option<Waker>)>;

impl Gpu {
    /// The first `bytes` of a buffer with `MAP_READ`, once `submission`, the last of `submits`, is
    /// done. After an error the buffer must not be used again.
    pub(super) async fn read_mapped(
        &self,
        buffer: &wgpu::Buffer,
        bytes: u64,
        submission: wgpu::SubmissionIndex,
        submits: u32,
    ) -> Result<Vec<u8>> {
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let state: Arc<Mapped> = Arc::default();
        let told = state.clone();
        let ((), said) = self.scoped(|| {
            buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |answer| {
                let mut state = lock(&told);
                state.0 = Some(answer);
                if let Some(waker) = state.1.take() {
                    waker.wake();
                }
            });
        });
        said.await?;
        self.wait(submission, submits)?;
        let answer = poll_fn(|cx| {
            let mut state = lock(&state);
            match state.0.take() {
                Some(answer) => Poll::Ready(answer),
                None => {
                    state.1 = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        if answer.is_err() {
            // The scopes were silent, and that is how wgpu treats calls on a lost device.
            return Err(self.lost("it no longer answers"));
        }
        let (view, said) = self.scoped(|| buffer.get_mapped_range(0..bytes));
        said.await?;
        let view = view.map_err(|e| Error::Validation(e.to_string()))?;
        let out = view.to_vec();
        drop(view);
        buffer.unmap();
        Ok(out)
    }

    /// Waits until a submission is done, at most [`PATIENCE_PER_SUBMIT`] for each of `submits`.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn wait(&self, submission: wgpu::SubmissionIndex, submits: u32) -> Result<()> {
        let timeout = PATIENCE_PER_SUBMIT.saturating_mul(submits.max(1));
        match self.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(timeout) }) {
            Some(Err(wgpu::PollError::Timeout)) => {
                let why = format!("it did not finish within {} s", timeout.as_secs());
                if let Some(lost) = &self.0.lost {
                    let _ = lost.set(why.clone());
                }
                Err(self.lost(&why))
            }
            // A submission that a lost device refused was never made; polling tells our callback.
            Some(Err(wgpu::PollError::WrongSubmissionIndex(..))) => {
                self.poll(wgpu::PollType::Poll);
                Err(self.lost("it refused the work"))
            }
            Some(Ok(_)) => Ok(()),
            None => Err(self.lost("it was lost while it worked")),
        }
    }

    #[cfg(target_arch = "wasm32")]
    pub(super) fn wait(&self, _: wgpu::SubmissionIndex, _: u32) -> Result<()> {
        Ok(())
    }

    /// Polls. wgpu 30 panics in `poll` when the device is lost under it; that becomes `None`.
    pub(super) fn poll(&self, how: wgpu::PollType) -> Option<Result<wgpu::PollStatus, wgpu::PollError>> {
        let poll = std::panic::AssertUnwindSafe(|| self.device().poll(how));
        std::panic::catch_unwind(poll).ok()
    }
}

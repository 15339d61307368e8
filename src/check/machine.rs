//! What cases run on: this library's own executor, another WebGPU that is handed the exported plan,
//! or anything else that can hold buffers and dispatch.

use crate::dim::Call;
use crate::error::Result;
use crate::plan::Plan;
use crate::plan::prepare::Weights;
use crate::profile::Profile;

/// What a buffer holds when a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill<'a> {
    /// These bytes, from its start; what lies behind them stays.
    Bytes(&'a [u8]),
    /// This pattern, from its start to its end: what nothing has written yet looks like.
    Pattern([u8; 4]),
}

/// A device that can run plans and lay their buffers open.
pub trait Machine {
    /// A plan on the device, with a buffer of its own for each of the plan's; dropped when it is not
    /// needed any more.
    type Loaded;

    /// What the device is: plans for it are made within this.
    fn profile(&self) -> &Profile;

    /// Makes a plan ready. Every buffer is at least 16 bytes, and `guard_bytes` longer than that or
    /// than the plan says; a device that does not see stray accesses itself lets kernels reach all of it.
    ///
    /// # Errors
    /// [`Error::Limit`](crate::Error::Limit) or [`Error::OutOfMemory`](crate::Error::OutOfMemory) if
    /// the device has no room, [`Error::Validation`](crate::Error::Validation) if it refuses the plan,
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    fn load(&self, plan: &Plan, weights: &Weights, guard_bytes: u64) -> Result<Self::Loaded>;

    /// Fills buffers, by place in the plan, runs one call, and reads buffers back whole. What is not
    /// filled is as the last run left it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn run(
        &self,
        loaded: &mut Self::Loaded,
        call: &Call,
        fills: &[(usize, Fill<'_>)],
        reads: &[usize],
    ) -> Result<Vec<Vec<u8>>>;

    /// What the machine itself saw go wrong in the last run, a sentence each: nothing, on a device that
    /// cannot look. `holds` says which bytes of a buffer that steps write, by its place in the plan,
    /// hold elements of values.
    fn findings(&self, _loaded: &Self::Loaded, _holds: &dyn Fn(usize) -> Vec<bool>) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(feature = "gpu")]
mod own {
    use pollster::block_on;

    use super::*;
    use crate::check::fence::filled;
    use crate::gpu::{Executable, Gpu, LoadOptions};

    impl Machine for Gpu {
        type Loaded = Executable;

        fn profile(&self) -> &Profile {
            Gpu::profile(self)
        }

        fn load(&self, plan: &Plan, weights: &Weights, guard_bytes: u64) -> Result<Executable> {
            self.load_blocking(plan, weights, LoadOptions { slots: 2, guard_bytes })
        }

        fn run(
            &self,
            exe: &mut Executable,
            call: &Call,
            fills: &[(usize, Fill<'_>)],
            reads: &[usize],
        ) -> Result<Vec<Vec<u8>>> {
            for (buffer, fill) in fills {
                let pattern;
                let bytes = match fill {
                    Fill::Bytes(bytes) => bytes,
                    Fill::Pattern(word) => {
                        pattern = filled(*word, exe.buffer_bytes(*buffer)? as usize);
                        pattern.as_slice()
                    }
                };
                block_on(exe.write_buffer(*buffer, bytes))?;
            }
            block_on(exe.dispatch(call))?;
            // Kernels must not notice how workgroups are folded, nor that there are more than they need: so
            // every second run has them folded otherwise.
            exe.fold_otherwise();
            reads.iter().map(|buffer| block_on(exe.read_buffer(*buffer))).collect()
        }
    }
}

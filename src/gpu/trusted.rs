//! The word of a caller that shaders need no checks.

use crate::plan::Trusted;

impl Trusted {
    /// Devices are to run plans with this word without checks.
    ///
    /// # Safety
    /// In every call, no shader of such a plan reads or writes past its bindings and arrays, loops without end,
    /// or reads workgroup memory before it writes it. Plans of [`plan`](crate::plan::plan) that were not altered,
    /// with indices below the rows of the tables that they point into, are meant to keep to that, and the
    /// virtual GPU looks for what does not.
    #[allow(unsafe_code, reason = "what is said here is acted upon unchecked")]
    pub const unsafe fn yes() -> Self {
        Self(true)
    }
}

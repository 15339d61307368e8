//! What can go wrong, as values. Every message is one sentence that names the op, the tensor, the
//! axis and both numbers, or the resource and its limit.

use std::fmt;

/// Everything Tachylite reports to its caller.
///
/// The variants are what a caller may want to branch on; the text is what a person needs to read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A graph was built or called with tensors that do not fit together.
    Shape(String),
    /// A scalar, input, output or weight was missing, misnamed or of the wrong type.
    Argument(String),
    /// No kernel can run this node on this device under this policy.
    NoKernel(String),
    /// A tensor or a dispatch is larger than the device's limits allow.
    Limit(String),
    /// The plan needs more memory than the budget it was given.
    Budget {
        /// Bytes that the plan would hold at its peak.
        needed_bytes: u64,
        /// Bytes that the request allowed.
        budget_bytes: u64,
    },
    /// There is no such adapter, or it could not be opened.
    Adapter(String),
    /// The device was lost (or destroyed); everything loaded on it is gone.
    DeviceLost(String),
    /// The device could not allocate.
    OutOfMemory(String),
    /// WebGPU refused a call: ours if the plan was ours, the caller's if its buffers were wrong.
    Validation(String),
    /// More calls were recorded before a submit than the executable has parameter slots.
    SlotsExhausted {
        /// How many calls fit between two submits.
        slots: u32,
    },
    /// A file is not what it should be, or could not be read or written: the file, where in it, the field.
    File(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(s) | Self::Argument(s) | Self::NoKernel(s) | Self::Limit(s) => f.write_str(s),
            Self::Adapter(s) | Self::File(s) => f.write_str(s),
            Self::Budget { needed_bytes, budget_bytes } => write!(
                f,
                "the plan needs {needed_bytes} bytes at its peak, but its budget is {budget_bytes} bytes"
            ),
            Self::DeviceLost(s) => write!(f, "the device was lost: {s}"),
            Self::OutOfMemory(s) => write!(f, "the device is out of memory: {s}"),
            Self::Validation(s) => write!(f, "WebGPU refused a call: {s}"),
            Self::SlotsExhausted { slots } => write!(
                f,
                "{slots} calls are recorded and not submitted, which is all this executable has \
                 slots for: submit, then call `submitted()`, or load it with more slots"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// A result with Tachylite's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

//! Measuring, as far as it needs no device: what samples of a time say, and whether one thing is
//! faster than another; which kernels at which shapes a bench is made of, its rows, and two runs of it.

pub mod clock;
pub mod demand;
#[cfg(all(feature = "json", not(target_arch = "wasm32")))]
pub mod report;
pub mod rounds;
pub mod row;
pub mod samples;
pub mod sittings;
pub mod suite;
pub mod text;
pub mod versus;

pub use demand::Demand;
#[cfg(all(feature = "json", not(target_arch = "wasm32")))]
pub use report::{Reached, Report};
pub use rounds::compare_rounds;
pub use row::{Beside, Outcome, Row, Timed};
pub use samples::{Comparison, Samples, Verdict, compare};
pub use suite::{Entry, Selection};
pub use versus::{Change, changes};

/// The most runs in one sample of a time.
#[cfg_attr(not(any(feature = "gpu", feature = "json")), allow(dead_code))]
pub(crate) const MOST_REPEATS: u32 = 256;

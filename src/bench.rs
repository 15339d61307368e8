//! Measuring, as far as it needs no device: what samples of a time say, and whether one thing is
//! faster than another.

pub mod clock;
pub mod samples;

pub use samples::{Comparison, Samples, Verdict, compare, compare_runs};

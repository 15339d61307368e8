//! placeholder
pub mod check;
pub mod cpu;
pub mod dim;
pub mod dtype;
pub mod error;
pub mod formats;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod graph;
pub mod judge;
pub mod kernel;
pub mod numerics;
pub mod op;
pub mod ops;
pub mod plan;
pub mod profile;
pub mod rng;
pub mod tensor;

pub use dim::{Call, Dim, Expr, ScalarId, ScalarKind, ScalarSpec};
pub use dtype::DType;
pub use error::{Error, Result};
#[cfg(feature = "gpu")]
pub use gpu::Gpu;
pub use graph::{Graph, ValueId};
pub use kernel::Kernel;
pub use op::Op;
pub use plan::Plan;
pub use profile::Profile;
pub use tensor::Tensor;
#[cfg(feature = "gpu")]
pub use wgpu;

//! placeholder
pub mod dim;
pub mod dtype;
pub mod error;
pub mod formats;
pub mod graph;
pub mod kernel;
pub mod numerics;
pub mod op;
pub mod ops;
pub mod plan;
pub mod profile;
pub mod rng;
pub mod tensor;
#[allow(missing_docs)]
pub mod check {}

pub use dim::{Call, Dim, Expr, ScalarId, ScalarKind, ScalarSpec};
pub use dtype::DType;
pub use error::{Error, Result};
pub use graph::{Graph, ValueId};
pub use kernel::Kernel;
pub use op::Op;
pub use plan::Plan;
pub use profile::Profile;
pub use tensor::Tensor;

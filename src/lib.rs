//! Tachylite: WGSL kernels for neural-network inference on every GPU that WebGPU reaches, dispatched
//! over wgpu, each proven against a plain CPU kernel.
//!
//! A [`Graph`] says what is meant. [`plan::plan`] turns it, for a device known as a [`Profile`], into a
//! [`Plan`]: composed WGSL, bindings, grids and buffers, as data. A [`Gpu`] loads a plan
//! and runs it, or records it into the caller's own pass; [`cpu`] evaluates the graph itself and says
//! what the answer is.
//!
//! ```
//! # fn main() -> tachylite::Result<()> {
//! use tachylite::{Call, DType, Graph, Tensor, cpu};
//!
//! let mut graph = Graph::new();
//! let rows = graph.dim("rows", 64)?; // each call says how many, up to 64
//! let x = graph.input("x", DType::F32, &[rows, 3.into()])?;
//! let w = graph.weight("w", DType::F32, &[2, 3])?;
//! let y = graph.matmul(x, w)?;
//! let y = graph.gelu(y)?; // will ride along in the matmul
//! graph.output("y", y)?;
//!
//! let x = Tensor::from_f32(&[2, 3], &[1.0, 2.0, 3.0, -1.0, -2.0, -3.0])?;
//! let w = Tensor::from_f32(&[2, 3], &[0.5, 0.0, -0.5, 1.0, 1.0, 1.0])?;
//! let call = Call::new(graph.scalars(), &[("rows", 2.0)])?;
//! let tensors = [("x".to_owned(), x.clone()), ("w".to_owned(), w.clone())].into();
//! let want = cpu::evaluate(&graph, &tensors, &call)?[0].to_f32();
//! # #[cfg(feature = "gpu")]
//! if let Ok(gpu) = tachylite::Gpu::open_blocking("gpu") {
//!     let plan = tachylite::plan::plan(&graph, gpu.profile(), &Default::default())?;
//!     let mut exe = gpu.load_blocking(&plan, &tensors, Default::default())?;
//!     let got = exe.run_blocking(&[("x", &x)], &call)?[0].to_f32();
//!     assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5));
//! }
//! # Ok(())
//! # }
//! ```
pub mod bench;
pub mod check;
pub mod cpu;
pub mod dim;
pub mod dtype;
pub mod error;
#[cfg(all(feature = "json", not(target_arch = "wasm32")))]
pub mod export;
pub mod files;
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
pub mod probe;
pub mod profile;
pub mod quirks;
pub mod rng;
pub mod tensor;
pub mod tune;
#[cfg(feature = "virtual")]
pub mod virtual_gpu;
#[cfg(feature = "json")]
pub mod web;

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

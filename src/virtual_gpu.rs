//! A GPU that behaves as badly as WGSL allows: an interpreter of WGSL, through naga's IR, that is a
//! device like the others, and the one that is always there.
//!
//! A shader becomes a flat scalar program; workgroups are run as rows of lanes with masks. What WGSL
//! leaves open is chosen by a [`Personality`]; what it forbids is a [`Finding`].
//!
//! Beside every word lies its *taint*: why it may not be trusted (nothing wrote it; NaN or infinity born from
//! finite operands; too large for f16), followed, like valgrind does, through arithmetic, `select`, packing,
//! memory and later dispatches. It is a finding where it decides, indexes, or ends in an element of a result;
//! rows' padding may hold anything. Every location of workgroup memory and of buffers that are written knows
//! its last writer and two readers with their barriers passed, so races are found in whatever order lanes run.
//! Programs are cached by text; workgroups go to threads unless they use atomics, and once more to one thread
//! if they race. A personality may move an element eight times as far as roundings drawn anew do before
//! [`lint`] says that results differ; whole numbers may not move at all.
//!
//! Not looked for: lost updates between an `atomicLoad` and an `atomicStore` (a workgroup runs to its end, lanes
//! in step); races inside a subgroup after one of its own barriers; accesses past a matrix of `coopLoad` in memory
//! of fixed size; uniformity is that of the run, not WGSL's static analysis (Tint checks that one).

#[doc(hidden)]
pub mod accuracy;
mod device;
mod exec;
mod finding;
pub mod lint;
mod lower;
mod math;
mod memory;
mod pairwise;
mod personality;
mod program;
mod shader;

pub use device::{VirtualGpu, VirtualPlan};
pub use finding::{Access, Finding, Kind};
pub use personality::{
    Denormals, Fma, Inexact, LaneOrder, Neighbour, OutOfBounds, Personality, Reassociation, Rounding,
    SUBGROUP_SIZES, Schedule, Sums,
};
#[doc(hidden)]
pub use program::{Binary, Pack, Ternary, Unary};
pub use program::{BufferDecl, BufferKind, Place, Ty};
pub use shader::{Contents, Left, Shader, Unrunnable};

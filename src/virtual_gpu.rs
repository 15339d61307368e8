//! A GPU that behaves as badly as WGSL allows: an interpreter of WGSL, through naga's IR, that is a
//! device like the others, and the one that is always there.
//!
//! A shader becomes a flat scalar program; workgroups are run as rows of lanes with masks. What WGSL
//! leaves open is chosen by a [`Personality`]; what it forbids is a [`Finding`].

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

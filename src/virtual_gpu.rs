//! A GPU that behaves as badly as WGSL allows: an interpreter of WGSL, through naga's IR, that is a
//! device like the others, and the one that is always there.
//!
//! A shader becomes a flat scalar program; workgroups are run as rows of lanes with masks. What WGSL
//! leaves open is chosen by a [`Personality`]; what it forbids is a [`Finding`].

mod finding;
mod pairwise;
mod personality;
mod program;

pub use finding::{Access, Finding, Kind};
pub use personality::{
    Denormals, Fma, Inexact, LaneOrder, Neighbour, OutOfBounds, Personality, Reassociation, Rounding,
    SUBGROUP_SIZES, Schedule, Sums,
};
pub use program::Place;

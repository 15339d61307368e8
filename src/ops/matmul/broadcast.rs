//! A tile for devices whose subgroups have one known size: lanes hand each other what they loaded of x.

use super::int8::weight_knobs;
use super::{tile_work, tiles};
use crate::kernel::{Kernel, Site};
use crate::op::Axis::{K, M, N};
use crate::profile::DeviceKind;

pub(super) static BROADCAST: Kernel = Kernel {
    name: "matmul.broadcast",
    file: "matmul_broadcast.wgsl",
    source: include_str!("../../../shaders/matmul_broadcast.wgsl"),
    blocks: &[(M, 16), (M, 32), (N, 32), (N, 64), (N, 128), (K, 4)],
    fits: |s| shape(s).map(|_| ()),
    knobs: |s| {
        let Shape { lanes, loads, groups } = known(s);
        let own = [("XS", loads), ("TN4", groups), ("LANES", lanes), ("ROWS", loads * lanes)];
        own.map(|(name, n)| (name, format!("{n}u"))).into_iter().chain(weight_knobs(s)).collect()
    },
    workgroups: |s| tiles(s, known(s).rows(), known(s).columns()),
    cost: |s| {
        let shape = known(s);
        let relative = if s.profile.kind == DeviceKind::Cpu { SOFTWARE } else { UNMEASURED };
        tile_work(s, (shape.rows(), shape.columns()), shape.lanes, relative)
    },
    ..Kernel::PLAIN
};

/// Time for the same products, with matmul.tile's as 1, where the device is a processor: 0.31 on llvmpipe of
/// Mesa 22.3, 0.65 on that of Mesa 26.2 (benches/log.md).
const SOFTWARE: f64 = 0.65;
/// And elsewhere, where nobody measured yet: as slow as to be chosen by measurement only.
const UNMEASURED: f64 = 1.5;

/// What the lanes of a subgroup do.
struct Shape {
    /// How many there are.
    lanes: u64,
    /// Rows of x that each loads.
    loads: u64,
    /// Groups of four columns that each owns.
    groups: u64,
}

impl Shape {
    const fn rows(&self) -> u64 {
        self.loads * self.lanes
    }

    const fn columns(&self) -> u64 {
        self.groups * self.lanes * 4
    }
}

fn shape(s: &Site<'_>) -> Result<Shape, String> {
    if !s.profile.features.subgroup {
        return Err("the device has no subgroups".into());
    }
    let (loads, groups) = match s.profile.subgroup_sizes {
        (4, 4) | (8, 8) => (4, 2),
        (16, 16) => (2, 1),
        (32, 32) => (1, 1),
        (least, most) => {
            return Err(format!(
                "the device has no subgroups of one size of 4 to 32 lanes, but of {least} to {most}"
            ));
        }
    };
    Ok(Shape { lanes: s.profile.subgroup_sizes.0.into(), loads, groups })
}

/// The shape where it fits; estimates and texts are only asked for there.
fn known(s: &Site<'_>) -> Shape {
    shape(s).unwrap_or(Shape { lanes: 32, loads: 1, groups: 1 })
}

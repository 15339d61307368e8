//! Cooperative matrices: both operands are first staged as f16, padded to whole tiles and relative to powers of
//! two for each row of x and column of w, so that nothing overflows; sums are f32.

use super::int8::{scale_knobs, weight_knobs};
use super::{tile_cost, tiles};
use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::kernel::{Kernel, Scratch, Site, Work};
use crate::numerics::{Approx, EITHER_NEIGHBOUR};
use crate::op::Axis::{B, K, M, N};
use crate::plan::Numerics;

/// A row of which nothing reaches this is all zeros.
const LEAST: f64 = 1.0 / (1u128 << 100) as f64;
/// K is padded to a multiple of this.
const SIDE_K: u64 = 16;

/// The three dispatches of one size of matrices.
macro_rules! kernels {
    ($name:ident $x:ident $w:ident $text:literal $side:literal $flag:ident) => {
        pub(super) static $name: Kernel = Kernel {
            name: concat!("matmul.matrix_", $text),
            file: "matmul_matrix.wgsl",
            source: include_str!("../../../shaders/matmul_matrix.wgsl"),
            blocks: &[(M, 4 * $side), (N, 4 * $side), (K, 16)],
            fits: |s| fits(s, s.profile.features.$flag, $side),
            knobs: |s| knobs(s, $side),
            workgroups: |s| tiles(s, 4 * $side, 4 * $side),
            cost: |s| cost(s, 4.0 * $side as f64),
            numerics: Numerics::F16Staged,
            scratch: &[
                Scratch::new("xh", DType::F16, |s| staged(s, M, 4 * $side)),
                Scratch::new("xe", DType::U32, |s| exponents(s, M, 4 * $side)),
                Scratch::new("wh", DType::F16, |s| staged(s, N, 4 * $side)),
                Scratch::new("we", DType::U32, |s| exponents(s, N, 4 * $side)),
            ],
            first: &[&$x, &$w],
            ..Kernel::PLAIN
        };

        static $x: Kernel = Kernel {
            name: concat!("matmul.matrix_", $text, "_x"),
            file: "matmul_matrix_x.wgsl",
            source: include_str!("../../../shaders/matmul_matrix_x.wgsl"),
            knobs: |s| vec![tile_knob($side), padded_knob(s, M, "MP", $side)],
            workgroups: |s| whole_tiles(s, M, 4 * $side),
            ..Kernel::PLAIN
        };

        static $w: Kernel = Kernel {
            name: concat!("matmul.matrix_", $text, "_w"),
            file: "matmul_matrix_w.wgsl",
            source: include_str!("../../../shaders/matmul_matrix_w.wgsl"),
            knobs: |s| [vec![tile_knob($side), padded_knob(s, N, "NP", $side)], weight_knobs(s)].concat(),
            workgroups: |s| whole_tiles(s, N, 4 * $side),
            ..Kernel::PLAIN
        };
    };
}

kernels!(MATRIX_16 X_16 W_16 "16" 16 matrix_16);
kernels!(MATRIX_8 X_8 W_8 "8" 8 matrix_8);

pub(in crate::ops) fn fits(s: &Site<'_>, has: bool, side: u64) -> Result<(), String> {
    let (least, most) = s.profile.subgroup_sizes;
    if !has || !s.profile.features.shader_f16 {
        return Err(format!("the device has no cooperative matrices of {side} x {side} f16"));
    }
    if least != most {
        return Err(format!("it needs to know the size of subgroups, which is {least} to {most}"));
    }
    Ok(())
}

fn knobs(s: &Site<'_>, side: u64) -> Vec<(&'static str, String)> {
    let grouped = scale_knobs(s).into_iter();
    let own = [padded_knob(s, M, "MP", side), padded_knob(s, N, "NP", side)];
    grouped.chain(of_subgroups(s, side)).chain(own).collect()
}

/// The knobs of a workgroup of four subgroups that multiply matrices.
pub(in crate::ops) fn of_subgroups(s: &Site<'_>, side: u64) -> [(&'static str, String); 6] {
    let matrix = |role: &str, of: &str| format!("coop_mat{side}x{side}<{of}, {role}>");
    [
        ("mat_a", matrix("A", "f16")),
        ("mat_b", matrix("B", "f16")),
        ("mat_c", matrix("C", "f32")),
        ("SIDE", format!("{side}u")),
        ("LANES", format!("{}u", 4 * s.profile.subgroup_sizes.0)),
        tile_knob(side),
    ]
}

fn tile_knob(side: u64) -> (&'static str, String) {
    ("TILE", format!("{}u", 4 * side))
}

fn padded_knob(s: &Site<'_>, axis: crate::op::Axis, name: &'static str, side: u64) -> (&'static str, String) {
    (name, format!("{}u", padded(s, axis, 4 * side)))
}

/// The most that an axis has, in whole tiles.
fn padded(s: &Site<'_>, axis: crate::op::Axis, tile: u64) -> u64 {
    (s.size(axis) as u64).checked_next_multiple_of(tile).unwrap_or(u64::MAX)
}

fn staged(s: &Site<'_>, axis: crate::op::Axis, tile: u64) -> Vec<Dim> {
    vec![s.dim(B), padded(s, axis, tile).into(), padded(s, K, SIDE_K).into()]
}

fn exponents(s: &Site<'_>, axis: crate::op::Axis, tile: u64) -> Vec<Dim> {
    vec![s.dim(B).times(&padded(s, axis, tile).into())]
}

/// A workgroup for each row of the tiles along an axis.
fn whole_tiles(s: &Site<'_>, axis: crate::op::Axis, tile: u64) -> Expr {
    Expr::Mul(vec![s.dim(B).into(), Expr::from(s.dim(axis)).ceil_div(tile), Dim::from(tile).into()])
}

/// Four times the rate of other arithmetic, after every operand was written and read once more.
fn cost(s: &Site<'_>, tile: f64) -> Work {
    let blocks = s.sizes.product(&[B]) * (s.size(M) as f64 / tile).ceil() * (s.size(N) as f64 / tile).ceil();
    let staged = 4.0 * s.sizes.product(&[B, K]) * (s.size(M) + s.size(N)) as f64;
    Work {
        flops: 2.0 * blocks * tile * tile * s.size(K) as f64 / 4.0,
        bytes: tile_cost(s, tile).bytes + staged,
        invocations: blocks * 128.0,
    }
}

/// Rows as they are multiplied: each element rounded once to f16, relative to the largest of its row, unless it
/// is an f16 anyway; what is 2^28 times less than that may become 0.
pub(in crate::ops) fn staged_rows(rows: &Approx, k: usize) -> Approx {
    let mut out = rows.clone();
    for (values, errors) in out.value.chunks(k.max(1)).zip(out.error.chunks_mut(k.max(1))) {
        let largest = values.iter().zip(&*errors).fold(0.0, |m, (v, e)| f64::max(m, v.abs() + e));
        let least = values.iter().zip(&*errors).fold(0.0, |m, (v, e)| f64::max(m, v.abs() - e));
        for (v, e) in values.iter().zip(errors) {
            let is_short = *e == 0.0 && crate::numerics::grain(*v) * 2048.0 > v.abs();
            if !is_short {
                *e += EITHER_NEIGHBOUR * DType::F16.unit_roundoff() * (v.abs() + *e);
            }
            let may_vanish = v.abs() - *e < largest / (1u64 << 28) as f64 || least < LEAST;
            if may_vanish && *v != 0.0 {
                *e += v.abs();
            }
        }
    }
    out
}

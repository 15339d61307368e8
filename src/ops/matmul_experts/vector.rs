//! Few tokens: reading the weights of their experts is all the work there is.

use super::tile::{in_whole_panels, weight_knobs};
use crate::dim::Expr;
use crate::kernel::{Kernel, Site, Work};
use crate::op::Axis::{C, E, K, M, U};
use crate::ops::matmul::{touch_knobs, unpacking, walk_knobs};
use crate::plan::prepare::PANEL;
use crate::profile::DeviceKind;

/// Invocations along C on a processor, and workgroups that it shares out evenly.
const LANES: u64 = 8;
const WORKGROUPS: u64 = 16;

pub(super) static VECTOR: Kernel = Kernel {
    name: "matmul_experts.vector",
    file: "matmul_experts_vector.wgsl",
    source: include_str!("../../../shaders/matmul_experts_vector.wgsl"),
    // Past the last are whole words of codes, but not whole panels.
    blocks: &[(C, 32), (C, PANEL), (C, 199), (K, 64)],
    knobs: |s| {
        let shape = Shape::of(s);
        let number = |name, n: u64| (name, format!("{n}u"));
        let own = vec![
            number("COLS", shape.columns),
            number("LANES", shape.lanes),
            number("PARTS", shape.parts),
            ("FLAT", shape.is_flat(s).to_string()),
        ];
        let own = [own, touch_knobs(s, shape.is_flat(s).then_some(shape.lanes * shape.columns))].concat();
        [own, walk_knobs(s, C, shape.columns, 1), weight_knobs(s)].concat()
    },
    workgroups: |s| {
        let shape = Shape::of(s);
        let strips = Expr::from(s.dim(C)).ceil_div(shape.lanes * shape.columns);
        Expr::Mul(vec![s.dim(M).times(&s.dim(U)).into(), strips])
    },
    cost: |s| {
        let shape = Shape::of(s);
        let pairs = s.sizes.product(&[M, U]);
        let strips = (s.size(C) as f64 / (shape.lanes * shape.columns) as f64).ceil();
        let halves = if s.arg("up").is_some() { 2.0 } else { 1.0 };
        Work {
            flops: (2.0 + unpacking(s)) * pairs * s.sizes.product(&[C, K]) * halves,
            bytes: weights(s) * pairs + s.bytes("x") + s.bytes("y"),
            invocations: pairs * strips * (shape.lanes * shape.parts) as f64,
        }
    },
    ..Kernel::PLAIN
};

/// The bytes of one expert's weights.
pub(super) fn weights(s: &Site<'_>) -> f64 {
    (s.bytes("w") + s.bytes("up")) / s.size(E).max(1) as f64
}

/// A workgroup: the columns of an invocation, and its invocations along C and along K.
struct Shape {
    columns: u64,
    lanes: u64,
    parts: u64,
}

impl Shape {
    /// As matmul.vector with one row: whole panels on a processor, if there are enough of them.
    fn of(s: &Site<'_>) -> Self {
        if s.profile.kind != DeviceKind::Cpu {
            return Self { columns: 1, lanes: 16, parts: 16 };
        }
        let (pairs, c) = (s.sizes.product(&[M, U]) as u64, s.size(C) as u64);
        let wanted = (pairs.saturating_mul(c) / (LANES * WORKGROUPS)).max(4);
        // The largest power of two that is not more than that, and leaves few lanes without a column.
        let most = (c / LANES).clamp(4, PANEL / LANES);
        Self { columns: 1 << wanted.min(most).ilog2(), lanes: LANES, parts: 1 }
    }

    /// Whether the columns of every workgroup lie side by side: in one panel of their expert.
    fn is_flat(&self, s: &Site<'_>) -> bool {
        in_whole_panels(s, PANEL) && PANEL.is_multiple_of(self.lanes * self.columns)
    }
}

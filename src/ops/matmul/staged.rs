//! Weights taken apart once, as f16, and then a tile that knows nothing of it: for so many rows that what each
//! row of tiles would unpack again costs more than writing the weights and reading them once.

use super::int8::weight_knobs;
use super::shared::SHARED;
use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::kernel::{Kernel, Scratch, Site, SiteArg, Work};
use crate::op::Axis::{K, M, N};
use crate::plan::Numerics;
use crate::plan::prepare::panel_width;

/// Columns of a workgroup that takes weights apart, and its invocations.
const COLUMNS: u64 = 16;

/// The tile in workgroup memory, which every device has. On llvmpipe nothing is gained by taking weights apart
/// first, not even with matmul.broadcast as the tile (benches/log.md); on GPUs nobody measured it.
pub(super) static STAGED: Kernel = Kernel {
    name: "matmul.staged",
    file: "matmul_shared.wgsl",
    source: include_str!("../../../shaders/matmul_shared.wgsl"),
    blocks: &[(M, 64), (N, 64), (N, 128), (K, 16)],
    fits,
    workgroups: |s| (SHARED.workgroups)(s),
    cost,
    numerics: Numerics::F16Staged,
    scratch: &[
        Scratch { instead: Some(w), ..Scratch::new("wh", DType::F16, elements) },
        Scratch { instead: Some(w_scale), ..Scratch::new("ws", DType::F32, |s| vec![s.dim(N)]) },
    ],
    first: &[&TAKE_APART],
    ..Kernel::PLAIN
};

static TAKE_APART: Kernel = Kernel {
    name: "matmul.staged_w",
    file: "matmul_staged.wgsl",
    source: include_str!("../../../shaders/matmul_staged.wgsl"),
    knobs: weight_knobs,
    workgroups: |s| Expr::from(s.dim(N)).ceil_div(COLUMNS),
    ..Kernel::PLAIN
};

fn fits(s: &Site<'_>) -> Result<(), String> {
    match s.arg("w") {
        Some(w) if !w.panels => Err("`w` must be a weight of the graph, not what a call gives".into()),
        Some(w) if w.dtype == DType::F16 => Err("`w` is f16, and need not be taken apart".into()),
        _ => Ok(()),
    }
}

/// The f16 of all panels.
fn elements(s: &Site<'_>) -> Vec<Dim> {
    let k = (s.size(K) as u64).checked_next_multiple_of(4).unwrap_or(u64::MAX);
    vec![(s.size(N) as u64).saturating_mul(k).into()]
}

/// As the tile finds the weights: in panels, as any weight of the graph lies.
fn w(s: &Site<'_>) -> SiteArg {
    let strides = vec![(N, Dim::from(4)), (K, panel_width(s.size(N) as u64).into())];
    SiteArg { strides, panels: true, ..SiteArg::new("w", DType::F16, vec![s.dim(N), s.dim(K)]) }
}

/// And their scales, one for each column.
fn w_scale(s: &Site<'_>) -> SiteArg {
    SiteArg { strides: vec![(N, Dim::ONE)], ..SiteArg::new("w_scale", DType::F32, vec![s.dim(N)]) }
}

/// The tile's cost with weights of f16, which were written once, after the weights were read twice.
fn cost(s: &Site<'_>) -> Work {
    let args: Vec<SiteArg> = s.args.iter().map(|a| if a.name == "w" { w(s) } else { a.clone() }).collect();
    let staged = Site { args: &args, ..*s };
    let work = (SHARED.cost)(&staged);
    let flops = work.flops + super::unpacking(s) * s.sizes.product(&[N, K]);
    Work { flops, bytes: work.bytes + 2.0 * s.bytes("w") + staged.bytes("w"), ..work }
}

//! y[b, m, n] = Σ_k x[b, m, k] · w[b, n, k]: a product with a transposed weight.
//!
//! With many rows it is bound by arithmetic, with few by reading the weights once.

use std::borrow::Cow;

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::numerics::{Approx, grain, round_error, sum_error};
use crate::op::Axis::{B, K, M, N};
use crate::op::{Arg, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes};
use crate::ops::{for_each_row, past_one_axis};
use crate::plan::Numerics;

mod broadcast;
mod int8;
mod int8_rows;
pub(super) mod matrix;
mod shared;
mod split;
mod staged;
mod vector;

use broadcast::BROADCAST;
use int8::{CasePlanes, dequantized, is_whole, plane_folds, weight_knobs};
pub(super) use int8::{block_knobs, packed};
use int8_rows::INT8;
use matrix::{MATRIX_8, MATRIX_16, staged_rows};
use shared::{SHARED, SHARED_LARGE};
use split::SPLIT;
use staged::STAGED;
use vector::VECTOR;
pub use vector::slices::MATMUL_SLICES;
pub(crate) use vector::slices::slices_of;
pub(super) use vector::{touch_knobs, walk_knobs};

/// The types of weights. Blocks of others are unpacked before, by `Graph::dequantize_blocks` or `Tensor::cast`.
const WEIGHTS: &[DType] = &{
    let mut all = [DType::U4; 3 + BLOCKS_AND_FLOATS.len()];
    let mut i = 0;
    while i < BLOCKS_AND_FLOATS.len() {
        // int8 and uint8 third and fourth
        all[if i < 2 { i } else { i + 2 }] = BLOCKS_AND_FLOATS[i];
        i += 1;
    }
    all[2] = DType::I8;
    all[3] = DType::U8;
    all
};

/// Those that need nothing beside them.
pub(super) const BLOCKS_AND_FLOATS: &[DType] = &[
    DType::F32,
    DType::F16,
    DType::Q8_0,
    DType::Bf16,
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q2K,
    DType::Q3K,
    DType::Q4K,
    DType::Q5K,
    DType::Q6K,
    DType::Iq4Nl,
    DType::Iq4Xs,
    DType::Mxfp4,
];

/// y[.., M, N] = x[.., M, K] · w[N, K]ᵀ, or batched with w[B, N, K].
pub static MATMUL: Op = Op {
    name: "matmul",
    formula: "y[b, m, n] = Σ_k x[b, m, k] · w[b, n, k]; i8, u8 and u4 stand for (w - w_zero) · w_scale, of \
              one scale, one for each n, or one for each n and group of k",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("x", &[B, M, K], FLOATS),
        Arg::new("w", &[B, N, K], WEIGHTS),
        Arg::optional("w_scale", &[N, K], FLOATS),
        Arg::optional("w_zero", &[N, K], &[DType::I8, DType::U8, DType::U4]),
        // Given by planning alone, as are the attributes `eps` and `gates`: see `plan/few_rows.rs`.
        Arg::optional("gain", &[K], FLOATS),
    ],
    outputs: &[Arg::new("y", &[B, M, N], FLOATS)],
    attrs: &[],
    infer,
    reference,
    flops: |s| 2.0 * s.product(&[B, M, N, K]),
    kernels: &[
        &TILE,
        &TILE_SMALL,
        &BROADCAST,
        &SHARED,
        &SHARED_LARGE,
        &VECTOR,
        &SPLIT,
        &INT8,
        &STAGED,
        &MATRIX_16,
        &MATRIX_8,
    ],
    cases: Cases {
        axes: &[(M, 5), (N, 8), (K, 36)],
        weights: WEIGHTS,
        variants: &[
            "plain",
            "bias_gelu_add",
            "relu_scale_mul_add",
            "smooth",
            "batched",
            "tensor_zero",
            "channel_zero",
            "group",
            "group_zero",
        ],
        applies: |shape| match shape.variant {
            // What follows the sum does not see in what kind of blocks weights lay.
            1..=3 => !shape.w.is_of_weights() || matches!(shape.w, DType::Q8_0 | DType::Bf16),
            4 => shape.w.is_float(),
            5 | 6 => is_whole(shape.w) && shape.w != DType::U4,
            7 | 8 => is_whole(shape.w),
            _ => true,
        },
        many_workgroups: |kernel| {
            let rows =
                kernel.blocks.iter().filter(|(axis, _)| *axis == M).map(|(_, n)| *n).max().unwrap_or(1);
            Some(Sizes::new(&[(M, past_one_axis(rows)), (N, 1), (K, 1)]))
        },
        build,
        fill: |_, _, _| None,
    },
};

static TILE: Kernel = Kernel {
    name: "matmul.tile",
    file: "matmul_tile.wgsl",
    source: include_str!("../../shaders/matmul_tile.wgsl"),
    blocks: &[(M, 16), (N, 128), (K, 32)],
    fits: |_| Ok(()),
    knobs: weight_knobs,
    workgroups: |s| tiles(s, 16, 128),
    cost: |s| tile_cost(s, 16.0),
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

static TILE_SMALL: Kernel = Kernel {
    name: "matmul.tile_small",
    file: "matmul_tile.wgsl",
    source: include_str!("../../shaders/matmul_tile.wgsl"),
    blocks: &[(M, 8), (N, 128), (K, 32)],
    fits: |_| Ok(()),
    knobs: |s| [vec![("TM", "8u".into())], weight_knobs(s)].concat(),
    workgroups: |s| tiles(s, 8, 128),
    cost: |s| tile_cost(s, 8.0),
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

fn tiles(s: &Site<'_>, rows: u64, columns: u64) -> Expr {
    let along = |axis, n| Expr::from(s.dim(axis)).ceil_div(n);
    Expr::Mul(vec![s.dim(B).into(), along(M, rows), along(N, columns)])
}

/// Fewer rows mean more loads per product: measured on llvmpipe (Mesa 26.2), 8 rows reach 0.83 of the
/// rate of 16 (benches/log.md).
fn tile_cost(s: &Site<'_>, rows: f64) -> Work {
    tile_work(s, (rows as u64, 128), 32, if rows < 16.0 { 1.0 / 0.83 } else { 1.0 })
}

/// Operations in the time of which a weight is made f32 of what a kernel reads: measured on llvmpipe (Mesa 26.2),
/// where `probe.unpack_i8` makes 28.8 G of them a second beside 116.6 GFLOP/s of `probe.fma` (benches/log.md).
pub(super) fn unpacking(s: &Site<'_>) -> f64 {
    if s.arg("w").is_some_and(|w| !w.dtype.is_float()) { 4.0 } else { 0.0 }
}

/// Every tile computes all its rows and columns, each product in the time of so many, and reads its strips of
/// x and w, half of it from caches.
fn tile_work(s: &Site<'_>, (rows, columns): (u64, u64), lanes: u64, relative: f64) -> Work {
    let (rows, columns) = (rows as f64, columns as f64);
    let tiles_m = (s.size(M) as f64 / rows).ceil();
    let tiles_n = (s.size(N) as f64 / columns).ceil();
    let tiles = s.sizes.product(&[B]) * tiles_m * tiles_n;
    let reads = (s.bytes("w") * tiles_m + s.bytes("x") * tiles_n) / 2.0;
    Work {
        flops: tiles * (2.0 * rows + unpacking(s)) * columns * s.size(K) as f64 * relative,
        bytes: reads.max(s.bytes("w") + s.bytes("x")) + s.bytes("y"),
        invocations: tiles * lanes as f64,
    }
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let x = i.operand(0)?.clone();
    let w = i.operand(1)?;
    let (rows, k) = i.rows_and_channels(0)?;
    let batched = w.shape.len() == 3;
    let (n, batch) = if batched {
        let xs = i.rank(0, 3)?;
        if w.dtype.is_of_weights() {
            let (dtype, w) = (w.dtype, i.show(&w.shape));
            return Err(Error::Argument(format!("matmul: `w` is {dtype} {w}, which is not read in batches")));
        }
        i.same(B, (0, &xs[0]), (1, &w.shape[0]))?;
        (w.shape[1].clone(), w.shape[0].clone())
    } else {
        (i.rank(1, 2)?[0].clone(), Dim::ONE)
    };
    i.same(K, (0, &k), (1, &w.shape[w.shape.len() - 1]))?;
    let planes = plane_folds(i, w, &n, &k)?;
    if i.inputs.get(4).is_some_and(Option::is_some) {
        return Err(Error::Argument("matmul: `gain` is for plans to give: take `rms_norm` of `x`".into()));
    }
    let rows = if batched { x.shape[1].clone() } else { rows };
    let mut shape = x.shape.clone();
    shape.pop();
    shape.push(n.clone());
    let leading = x.shape.len() - 1;
    let (x_fold, w_fold, y_fold) = if batched {
        let f = |a, c| vec![(B, 1), (a, 1), (c, 1)];
        (f(M, K), f(N, K), f(M, N))
    } else {
        (vec![(M, leading), (K, 1)], vec![(N, 1), (K, 1)], vec![(M, leading), (N, 1)])
    };
    Ok(Inferred {
        axes: Axes::new(&[(B, batch), (M, rows), (N, n), (K, k)]),
        folds: vec![x_fold, w_fold, planes[0].clone(), planes[1].clone(), Vec::new(), y_fold],
        outputs: vec![(shape, x.dtype)],
    })
}

// |error| ≤ min(n, λ√n)·u·Σ|x·w| for the sum, what errors of the inputs add, and one rounding for
// the scale of a column of int8 weights. q - z is exact. Weights of block formats are products that are exact
// in f32, and round once where a least is added and they do not fit, as those of groups with an f32 scale.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    if c.numerics == Numerics::Int8Activations && c.dtypes[1].is_some_and(int8_rows::takes) {
        return int8_rows::reference(c);
    }
    let (b, m, n, k) = (c.sizes.get(B), c.sizes.get(M), c.sizes.get(N), c.sizes.get(K));
    let (x, w) = (Cow::Borrowed(c.input(0)), dequantized(c));
    let (x, w) = match c.numerics {
        Numerics::F16Staged => (Cow::Owned(staged_rows(&x, k)), Cow::Owned(staged_rows(&w, k))),
        _ => (x, w),
    };
    // A scale of a tensor or of a column waits for the sum.
    let scale = c.inputs[2].filter(|s| s.shape.len() == 1);
    let batches_w = w.value.len().checked_div(n * k).unwrap_or(1).max(1);
    let transposed = |from: &[f64]| -> Vec<f64> {
        let mut out = vec![0.0; from.len()];
        for batch in 0..batches_w {
            for col in 0..n {
                for i in 0..k {
                    out[(batch * k + i) * n + col] = from[(batch * n + col) * k + i];
                }
            }
        }
        out
    };
    let (wt, wt_error) = (transposed(&w.value), transposed(&w.error));
    let inherits = x.error.iter().chain(&w.error).any(|e| *e > 0.0);
    let row_grain = |v: &[f64]| v.iter().fold(f64::INFINITY, |g, v| g.min(grain(*v)));
    let w_grains: Vec<f64> = w.value.chunks(k.max(1)).map(row_grain).collect();
    let mut out = Approx::exact(&[b, m, n], vec![0.0; b * m * n]);
    for_each_row(n, &mut out.value, &mut out.error, b * m * n * k, |row, value, error| {
        let at_w = row / m * k * n % wt.len().max(1);
        let (xs, xe) = (&x.value[row * k..(row + 1) * k], &x.error[row * k..(row + 1) * k]);
        let mut magnitude = vec![0.0; n];
        for i in 0..k {
            let ws = &wt[at_w + i * n..at_w + (i + 1) * n];
            for ((v, a), w) in value.iter_mut().zip(&mut magnitude).zip(ws) {
                let term = xs[i] * w;
                *v += term;
                *a += term.abs();
            }
            if inherits {
                let we = &wt_error[at_w + i * n..at_w + (i + 1) * n];
                for ((e, w), we) in error.iter_mut().zip(ws).zip(we) {
                    *e += xs[i].abs() * we + xe[i] * (w.abs() + we);
                }
            }
        }
        let x_grain = row_grain(xs);
        for col in 0..n {
            let w_grain = w_grains.get((row / m * n + col) % w_grains.len().max(1)).copied().unwrap_or(1.0);
            let exact_grain =
                if x_grain.is_finite() && w_grain.is_finite() { x_grain * w_grain } else { 1.0 };
            error[col] += sum_error(k as u64, magnitude[col], exact_grain);
            if let Some(scale) = scale {
                let (s, e) = scale.at(col % scale.value.len());
                let v = value[col] * s;
                error[col] = round_error(v, error[col] * (s.abs() + e) + value[col].abs() * e);
                value[col] = v;
            }
        }
    });
    vec![out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let (m, n) = (shape.sizes.get(M), shape.sizes.get(N));
    let planes = CasePlanes::of(shape);
    let k = shape.sizes.get(K).next_multiple_of(planes.unit(shape.w));
    if shape.variant == 4 && shape.w.is_float() {
        let x = g.input("x", shape.x, &[3.into(), m.into(), k.into()])?;
        let w = g.input("w", shape.w, &[3.into(), n.into(), k.into()])?;
        let y = g.matmul(x, w)?;
        return g.output("y", y);
    }
    let leading = if shape.variant == 4 { vec![Dim::from(3), m.into()] } else { vec![m.into()] };
    let x = g.input("x", shape.x, &[leading.as_slice(), &[k.into()]].concat())?;
    let w = g.weight("w", shape.w, &[n, k])?;
    let mut y = match planes.weights(g, shape.w, (n, k))? {
        None => g.matmul(x, w)?,
        Some((scale, zero)) => g.matmul_int8(x, w, scale, zero)?,
    };
    let full = [leading.as_slice(), &[n.into()]].concat();
    match shape.variant {
        1 => {
            let bias = g.weight("bias", DType::F32, &[n])?;
            let residual = g.input("residual", shape.x, &full)?;
            y = g.add(y, bias)?;
            y = g.gelu(y)?;
            y = g.add(residual, y)?;
        }
        2 => {
            let gate = g.input("gate", shape.x, &full)?;
            let bias = g.weight("bias", shape.x, &[n])?;
            y = g.relu(y)?;
            y = g.scale(y, crate::op::Attr::F32(0.5))?;
            y = g.mul(y, gate)?;
            y = g.sub(bias, y)?;
        }
        3 => {
            y = g.silu(y)?;
            y = g.sigmoid(y)?;
            y = g.tanh(y)?;
            y = g.gelu_tanh(y)?;
        }
        _ => {}
    }
    g.output("y", y)
}

impl Graph {
    /// y = x · wᵀ: `x [.., K]` with `w [N, K]` gives `[.., N]`; `x [B, M, K]` with `w [B, N, K]` gives
    /// `[B, M, N]`. `w` may be f32, f16, or a weight of bf16 or blocks; sums are f32.
    ///
    /// # Errors
    /// [`Error::Shape`] where the K of both differ, or the batches; [`Error::Argument`] for a bf16 `w [B, N, K]`.
    pub fn matmul(&mut self, x: ValueId, w: ValueId) -> Result<ValueId> {
        self.apply_one(&MATMUL, &[Some(x), Some(w)], &[])
    }

    /// As [`matmul`](Self::matmul) with weights `(w - w_zero) · w_scale`, `w [N, K]` i8, u8 or u4. `w_scale`
    /// is f32 or f16: `[1]`, `[N]`, or `[N, G]` for G groups of a multiple of 32 along K; `w_zero`, 0 unless given
    /// and 8 for u4, has its shape and the type of `w`. That of u4 may be u8; in u4, `[N, G]` has one more column
    /// where G is odd.
    ///
    /// # Errors
    /// As [`matmul`](Self::matmul), and where these shapes or types differ.
    pub fn matmul_int8(
        &mut self,
        x: ValueId,
        w: ValueId,
        w_scale: ValueId,
        w_zero: Option<ValueId>,
    ) -> Result<ValueId> {
        self.apply_one(&MATMUL, &[Some(x), Some(w), Some(w_scale), w_zero, None], &[])
    }
}

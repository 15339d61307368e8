//! The list of ops, one line each. Everything else (tests, check, docs, choice) is a loop over it.

use crate::dim::{Dim, Expr};
use crate::kernel::Site;
use crate::op::{Axis, Op};

pub mod append;
pub mod arg;
pub mod attention;
pub mod causal_conv;
pub mod columns;
pub mod concat;
pub mod copy_rows;
pub mod cross_entropy;
pub mod cumulative_sum;
pub mod dequantize_blocks;
pub mod elementwise;
pub mod embed;
pub mod grouped;
pub mod l2_normalize;
pub mod layer_norm;
pub mod linear_attention;
pub mod matmul;
pub mod matmul_experts;
pub mod matmul_integer;
pub mod mean_pool;
pub mod merge;
pub mod pad;
pub(crate) mod parts;
pub mod quantize;
pub mod quantize_blocks;
pub mod reduce;
pub mod rms_norm;
pub mod rope;
pub mod rope_append;
pub(crate) mod rows;
pub mod rwkv7;
pub mod sample;
pub mod softmax;
pub(crate) mod teams;
pub mod token_shift;
pub mod top_k;
pub mod view;
pub mod where_;
pub mod wkv7;

/// Every op there is.
pub static ALL: &[&Op] = &[
    &matmul::MATMUL,
    &matmul::MATMUL_SLICES,
    &matmul_experts::MATMUL_EXPERTS,
    &matmul_integer::MATMUL_INTEGER,
    &attention::ATTENTION,
    &merge::MERGE,
    &append::APPEND,
    &copy_rows::COPY_ROWS,
    &causal_conv::CAUSAL_CONV,
    &linear_attention::LINEAR_ATTENTION,
    &wkv7::WKV7,
    &token_shift::TOKEN_SHIFT,
    &rwkv7::RWKV7,
    &rope::ROPE,
    &rope_append::ROPE_APPEND,
    &layer_norm::LAYER_NORM,
    &rms_norm::RMS_NORM,
    &softmax::SOFTMAX,
    &softmax::LOG_SOFTMAX,
    &reduce::REDUCE,
    &reduce::REDUCE_COLUMNS,
    &arg::ARG,
    &top_k::TOP_K,
    &cumulative_sum::CUMULATIVE_SUM,
    &cross_entropy::CROSS_ENTROPY,
    &sample::SAMPLE,
    &embed::EMBED,
    &mean_pool::MEAN_POOL,
    &l2_normalize::L2_NORMALIZE,
    &elementwise::RELU,
    &elementwise::GELU,
    &elementwise::GELU_TANH,
    &elementwise::SILU,
    &elementwise::SIGMOID,
    &elementwise::TANH,
    &elementwise::SOFTPLUS,
    &elementwise::NEG,
    &elementwise::ABS,
    &elementwise::SIGN,
    &elementwise::EXP,
    &elementwise::LOG,
    &elementwise::SQUARE,
    &elementwise::SQRT,
    &elementwise::RSQRT,
    &elementwise::RECIPROCAL,
    &elementwise::ERF,
    &elementwise::FLOOR,
    &elementwise::CEIL,
    &elementwise::ROUND,
    &elementwise::ROUND_AWAY,
    &elementwise::SCALE,
    &elementwise::OFFSET,
    &elementwise::CLAMP,
    &elementwise::ELU,
    &elementwise::LEAKY_RELU,
    &elementwise::CAST,
    &elementwise::ADD,
    &elementwise::SUB,
    &elementwise::MUL,
    &elementwise::DIV,
    &elementwise::POW,
    &elementwise::MINIMUM,
    &elementwise::MAXIMUM,
    &elementwise::EQUAL,
    &elementwise::LESS,
    &elementwise::LESS_EQUAL,
    &elementwise::GREATER,
    &elementwise::GREATER_EQUAL,
    &where_::WHERE,
    &concat::CONCAT,
    &pad::PAD,
    &columns::COLUMNS,
    &dequantize_blocks::DEQUANTIZE_BLOCKS,
    &quantize_blocks::QUANTIZE_BLOCKS,
    &view::RESHAPE,
    &view::SLICE,
    &view::SWAP,
    &view::EXPAND,
];

/// The op of that name.
pub fn by_name(name: &str) -> Option<&'static Op> {
    ALL.iter().copied().find(|op| op.name == name)
}

/// Largest `f` for which a kernel with a block of `per_workgroup` elements along an axis needs more
/// than 65,535 workgroups.
pub(crate) const fn past_one_axis(per_workgroup: u64) -> u64 {
    per_workgroup * 65535 + 1
}

/// The workgroups of a kernel whose 64 invocations own four neighbours of a row each.
pub(crate) fn by_groups(s: &Site<'_>) -> Expr {
    let groups = s.size(Axis::C).div_ceil(4) as u64;
    Expr::Mul(vec![s.dim(Axis::R).into(), Expr::from(Dim::from(groups))]).ceil_div(64)
}

/// Runs `row(i, values, errors)` for every row of a result, on as many threads as there are cores
/// when that pays. `work` is the number of inner steps in all.
pub(crate) fn for_each_row(
    width: usize,
    value: &mut [f64],
    error: &mut [f64],
    work: usize,
    row: impl Fn(usize, &mut [f64], &mut [f64]) + Sync,
) {
    if width == 0 || value.is_empty() {
        return;
    }
    let rows = value.len() / width;
    let one = |first: usize, value: &mut [f64], error: &mut [f64]| {
        let parts = value.chunks_mut(width).zip(error.chunks_mut(width)).enumerate();
        parts.for_each(|(i, (v, e))| row(first + i, v, e));
    };
    let threads = if cfg!(target_arch = "wasm32") || work < 1 << 18 {
        1
    } else {
        std::thread::available_parallelism().map_or(1, usize::from).min(rows)
    };
    if threads == 1 {
        return one(0, value, error);
    }
    let share = rows.div_ceil(threads);
    std::thread::scope(|scope| {
        let parts = value.chunks_mut(share * width).zip(error.chunks_mut(share * width));
        for (i, (v, e)) in parts.enumerate() {
            let one = &one;
            scope.spawn(move || one(i * share, v, e));
        }
    });
}

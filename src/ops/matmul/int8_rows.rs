//! int8 times int8: each row of x is first rounded to whole multiples of a step of its own, so that sums are
//! of whole numbers, four products to an instruction. That computes another function of x, which has its own
//! reference.

use super::int8::{less_zero, packed, weight_knobs};
use super::{tile_cost, tiles};
use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::kernel::{Kernel, Scratch, Site, Work};
use crate::numerics::{Approx, EITHER_NEIGHBOUR, Sum, U32, round_error};
use crate::op::Axis::{B, K, M, N};
use crate::op::RefCall;
use crate::ops::for_each_row;
use crate::ops::rows::handing;
use crate::plan::Numerics;
use crate::profile::DeviceKind;

/// Rows of a tile; it has 128 columns.
const ROWS: u64 = 16;
/// Up to here a sum of products of 127 and 255 is an i32.
const LARGEST_K: usize = 65536;
/// A row of which nothing reaches this is all zeros.
const LEAST: f64 = 1.0 / (1u128 << 100) as f64;

pub(super) static INT8: Kernel = Kernel {
    name: "matmul.int8",
    file: "matmul_int8.wgsl",
    source: include_str!("../../../shaders/matmul_int8.wgsl"),
    blocks: &[(M, ROWS), (N, 128), (K, 32)],
    fits: |s| match s.arg("w").map(|w| w.dtype) {
        Some(w) if takes(w) && s.size(K) <= LARGEST_K => Ok(()),
        Some(w) if takes(w) => {
            Err(format!("its sums are i32, and hold {LARGEST_K} products, but K is {}", s.size(K)))
        }
        w => Err(format!("`w` must be i8, u8 or in blocks, but it is {}", w.unwrap_or(DType::F32))),
    },
    knobs,
    workgroups: |s| tiles(s, ROWS, 128),
    cost: |s| {
        let tile = tile_cost(s, ROWS as f64);
        Work { flops: tile.flops * relative(s), bytes: tile.bytes + s.bytes("x"), ..tile }
    },
    numerics: Numerics::Int8Activations,
    scratch: &[
        Scratch::new("xq", DType::I8, |s| vec![s.dim(B), s.dim(M), padded_k(s)]),
        Scratch::new("xs", DType::F32, |s| vec![rows(s)]),
    ],
    first: &[&ROUND],
    ..Kernel::PLAIN
};

static ROUND: Kernel = Kernel {
    name: "matmul.int8_rows",
    file: "matmul_int8_rows.wgsl",
    source: include_str!("../../../shaders/matmul_int8_rows.wgsl"),
    workgroups: |s| Expr::from(rows(s)),
    ..Kernel::PLAIN
};

/// Whether weights of a type are multiplied as whole numbers.
pub(super) const fn takes(w: DType) -> bool {
    matches!(w, DType::I8 | DType::U8) || w.is_blocks()
}

/// How many weights of blocks share a scale.
fn part(w: DType) -> usize {
    packed(w).map_or(w.block(), |packed| packed.part)
}

/// The time of a product against that of an f32 tile. On a processor as measured on llvmpipe (Mesa 26.2, 512
/// rows, benches/log.md): 0.77 of one scale for a column, and a third of a product's more for each sum of 32
/// that becomes an f32. On GPUs, where nothing was measured, half.
fn relative(s: &Site<'_>) -> f64 {
    if s.profile.kind != DeviceKind::Cpu {
        return 0.5;
    }
    let groups = s.arg("w_scale").and_then(|scale| scale.shape.get(1)).map(|g| g.max(s.scalars));
    let length = match s.arg("w").map(|w| w.dtype).filter(|w| w.is_blocks()) {
        Some(blocks) => Some(part(blocks)),
        None => groups.map(|g| s.size(K) / g.max(1) as usize),
    };
    0.77 + length.map_or(0.0, |length| 0.33 * 32.0 / length.max(1) as f64)
}

/// The most that K is, in sixteens: rows are filled up with zeros.
fn padded_k(s: &Site<'_>) -> Dim {
    (s.size(K) as u64).checked_next_multiple_of(16).unwrap_or(u64::MAX).into()
}

fn rows(s: &Site<'_>) -> Dim {
    s.dim(B).times(&s.dim(M))
}

fn knobs(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let mut knobs = weight_knobs(s);
    let dtype = s.arg("w").map(|w| w.dtype);
    let is = |name: &str| knobs.iter().any(|(n, v)| *n == name && v == "true");
    let (moved, blocks) = (dtype == Some(DType::U8), dtype.is_some_and(DType::is_blocks) || is("GROUPED"));
    let sums = moved || is("ZEROS");
    if let Some(packed) = dtype.and_then(packed) {
        knobs.push(("LEASTS", packed.has_least().to_string()));
        knobs.push(("TWICE", packed.exponent.is_some().to_string()));
    }
    let handed = handing(s.profile).unwrap_or(1);
    knobs.extend([("HANDED", format!("{handed}u")), ("LOADS", format!("{}u", ROWS / handed))]);
    knobs.push(("HANDS", (handed > 1).to_string()));
    knobs.extend([("BLOCKS", blocks.to_string()), ("MOVED", moved.to_string()), ("SUMS", sums.to_string())]);
    knobs
}

/// A row in whole steps, how far off each may be, and the step with its error.
struct Row {
    whole: Vec<f64>,
    off: Vec<f64>,
    step: (f64, f64),
}

// r = x·(127 / largest): 2.5 ulp for the quotient and 1 for the product, each to either neighbour. What is as
// near to half a step as that, and as x itself is uncertain, may go to either side of it; nothing else may.
fn rounded(x: &[f64], error: &[f64]) -> Row {
    let most =
        |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(error).fold(0.0, |m, (x, e)| f64::max(m, f(x.abs(), *e)));
    let (largest, high) = (most(&|x, _| x), most(&|x, e| x + e));
    let low = most(&|x, e| x - e);
    let unit = EITHER_NEIGHBOUR * U32;
    if high < LEAST {
        return Row { whole: vec![0.0; x.len()], off: vec![0.0; x.len()], step: (0.0, 0.0) };
    }
    let per_step = 127.0 / largest.max(LEAST);
    let uncertain = (high - low) / low.max(LEAST);
    let (mut whole, mut off) = (Vec::with_capacity(x.len()), Vec::with_capacity(x.len()));
    for (x, e) in x.iter().zip(error) {
        let r = x * per_step;
        let near = r.abs() * (uncertain + 4.0 * unit) + e * per_step * (1.0 + uncertain);
        let q = r.round_ties_even();
        let (down, up) = ((r - near).round_ties_even(), (r + near).round_ties_even());
        // Where the row may or may not reach LEAST, all of it may be zeros.
        off.push(if low < LEAST { q.abs() + 1.0 } else { (q - down).max(up - q) });
        whole.push(q);
    }
    let step = largest / 127.0;
    let error = if low < LEAST { step } else { (high - low) / 127.0 + step * 2.0 * unit };
    Row { whole, off, step: (step, error) }
}

/// The function of `Numerics::Int8Activations`, for weights of whole numbers: sums of products of whole numbers
/// are exact up to where they are stored as f32; those of blocks are added in f32, each times its scale, and
/// where there is a least, that times the sum of x; then come a column's scale and the row's step, one rounding
/// each. The whole numbers of a format's block are known as multiples of its scale, and their sums, of 32
/// products of 127 and 128 at most, fit an f32.
pub(super) fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (b, m, n, k) = (c.sizes.get(B), c.sizes.get(M), c.sizes.get(N), c.sizes.get(K));
    let (x, w) = (c.input(0), less_zero(c));
    let (grouped, by_column) = match c.inputs[2] {
        Some(scale) if scale.shape.len() == 2 => (Some(scale), None),
        scale => (None, scale),
    };
    let length = match (grouped, by_column) {
        (Some(scale), _) => k / scale.shape[1].max(1),
        (None, Some(_)) => k,
        (None, None) => c.dtypes[1].map_or(1, part),
    };
    let mut out = Approx::exact(&[b, m, n], vec![0.0; b * m * n]);
    for_each_row(n, &mut out.value, &mut out.error, b * m * n * k, |row, value, error| {
        let range = row * k..(row + 1) * k;
        let x = rounded(&x.value[range.clone()], &x.error[range]);
        for col in 0..n {
            let ws = &w.value[col * k..(col + 1) * k];
            let mut sum = Sum::new();
            for (block, start) in (0..k).step_by(length.max(1)).enumerate() {
                let at = start..(start + length).min(k);
                let products = |x: &[f64], w: fn(f64) -> f64| -> f64 {
                    x[at.clone()].iter().zip(&ws[at.clone()]).map(|(x, v)| x * w(*v)).sum()
                };
                let (whole, off) = (products(&x.whole, |w| w), products(&x.off, f64::abs));
                // What is rounded is not the sum but both of what it is of.
                let least = w.least.get(col * k + start).map_or(0.0, |least| {
                    let sum: f64 = x.whole[at.clone()].iter().sum();
                    least * sum
                });
                if !w.least.is_empty() {
                    sum.add(least, 0.0);
                    // What is off moves both by more than it moves their sum.
                    let both = |i: usize| w.least[col * k + i].abs() + (ws[i] - w.least[col * k + i]).abs();
                    sum.magnitude += at.clone().map(|i| x.off[i] * both(i)).sum::<f64>();
                }
                let whole = whole - least;
                let (d, d_error) = grouped.map_or((1.0, 0.0), |s| s.at(col * s.shape[1] + block));
                let stored = if c.inputs[2].is_some() { round_error(whole, off) } else { off };
                sum.add(d * whole, d.abs() * stored + d_error * (whole.abs() + stored));
            }
            let times = |(v, e): (f64, f64), (s, s_error): (f64, f64)| {
                (v * s, round_error(v * s, e * (s.abs() + s_error) + v.abs() * s_error))
            };
            let scaled = by_column.map_or(sum.finish(), |s| times(sum.finish(), s.at(col % s.value.len())));
            (value[col], error[col]) = times(scaled, x.step);
        }
    });
    vec![out]
}

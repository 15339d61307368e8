//! y[b, m, n] = Σ_k (x[b, m, k] - x_zero[b, m]) · (w[b, n, k] - w_zero\[n\]) of 8-bit whole numbers, exactly:
//! ONNX's `MatMulInteger`, with `w` transposed. Everything with scales is this and elementwise ops after it.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::numerics::Approx;
use crate::op::Axis::{B, C, K, M, N};
use crate::op::{Arg, Attr, Axes, Cases, Fold, Infer, Inferred, Kind, Op, Operand, RefCall, Shape, Sizes};
use crate::ops::{for_each_row, past_one_axis};

/// What is multiplied.
const BYTES: &[DType] = &[DType::I8, DType::U8];
/// Up to here a sum of products of 255 and 255 is an i32.
const LARGEST_K: u64 = 33025;
/// Rows of a tile; it has 128 columns.
const ROWS: u64 = 8;

/// y[.., M, N] = (x[.., M, K] - x_zero) · (w[N, K] - w_zero)ᵀ, or batched with w[B, N, K], as i32.
pub static MATMUL_INTEGER: Op = Op {
    name: "matmul_integer",
    formula: "y[b, m, n] = Σ_k (x[b, m, k] - x_zero[b, m]) · (w[b, n, k] - w_zero[n]), exactly",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("x", &[B, M, K], BYTES),
        Arg::new("w", &[B, N, K], BYTES),
        Arg::optional("x_zero", &[B, M, C], BYTES),
        Arg::optional("w_zero", &[N, K], BYTES),
    ],
    outputs: &[Arg::new("y", &[B, M, N], &[DType::I32])],
    attrs: &[],
    infer,
    reference,
    flops: |s| 2.0 * s.product(&[B, M, N, K]),
    kernels: &[&TILE],
    cases: Cases {
        axes: &[(M, 5), (N, 8), (K, 36)],
        weights: BYTES,
        variants: &["plain", "zeros", "zero_rows", "batched", "scaled"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(M, past_one_axis(ROWS)), (N, 1), (K, 1)])),
        build,
        fill: |_, _, _| None,
    },
};

static TILE: Kernel = Kernel {
    name: "matmul_integer.tile",
    file: "matmul_integer.wgsl",
    source: include_str!("../../shaders/matmul_integer.wgsl"),
    blocks: &[(M, ROWS), (N, 128), (K, 4)],
    knobs: |s| {
        let is = |name, dtype| s.arg(name).is_some_and(|a| a.dtype == dtype);
        let whole = is("y", DType::I32);
        let mut knobs = vec![
            ("X_MOVED", is("x", DType::U8).to_string()),
            ("W_MOVED", is("w", DType::U8).to_string()),
            ("WHOLE", whole.to_string()),
            ("CHAINED", (!whole).to_string()),
        ];
        if s.arg("x_zero").is_some() {
            knobs.push(("X_SIGNED", is("x_zero", DType::I8).to_string()));
        }
        if s.arg("w_zero").is_some() {
            knobs.push(("SIGNED", is("w_zero", DType::I8).to_string()));
        }
        knobs
    },
    workgroups: |s| {
        let along = |axis, n| Expr::from(s.dim(axis)).ceil_div(n);
        Expr::Mul(vec![s.dim(B).into(), along(M, ROWS), along(N, 128)])
    },
    cost,
    ..Kernel::PLAIN
};

/// Half of what a tile of floats of the same shape costs: four products are one instruction, and two loads.
fn cost(s: &Site<'_>) -> Work {
    let tiles_m = (s.size(M) as f64 / ROWS as f64).ceil();
    let tiles_n = (s.size(N) as f64 / 128.0).ceil();
    let tiles = s.sizes.product(&[B]) * tiles_m * tiles_n;
    Work {
        flops: tiles * ROWS as f64 * 128.0 * s.size(K) as f64,
        bytes: (s.bytes("w") * tiles_m + s.bytes("x") * tiles_n) / 2.0 + s.bytes("y"),
        invocations: tiles * 32.0,
    }
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (rows, k) = i.rows_and_channels(0)?;
    let (x, w) = (i.operand(0)?, i.operand(1)?);
    let batched = w.shape.len() == 3;
    let (n, batch, rows) = if batched {
        let xs = i.rank(0, 3)?;
        i.same(B, (0, &xs[0]), (1, &w.shape[0]))?;
        (w.shape[1].clone(), w.shape[0].clone(), xs[1].clone())
    } else {
        (i.rank(1, 2)?[0].clone(), Dim::ONE, rows)
    };
    i.same(K, (0, &k), (1, &w.shape[w.shape.len() - 1]))?;
    if k.max(i.scalars) > LARGEST_K {
        let k = k.max(i.scalars);
        return Err(Error::Shape(format!(
            "matmul_integer: its sums are i32, and hold {LARGEST_K} products, but K is {k}"
        )));
    }
    let leading = x.shape.len() - 1;
    let fold = |row, last| -> Fold {
        if batched { vec![(B, 1), (row, 1), (last, 1)] } else { vec![(row, leading), (last, 1)] }
    };
    let w_fold = if batched { fold(N, K) } else { vec![(N, 1), (K, 1)] };
    let zeros = [x_zero(i, x, fold(M, C))?, w_zero(i, w, &n)?];
    let mut shape = x.shape.clone();
    shape[leading] = n.clone();
    let [x_zero, w_zero] = zeros;
    Ok(Inferred {
        axes: Axes::new(&[(B, batch), (M, rows), (N, n), (K, k)]),
        folds: vec![fold(M, K), w_fold, x_zero, w_zero, fold(M, N)],
        outputs: vec![(shape, DType::I32)],
    })
}

/// How the zero points of rows read: one for all, `[1]`, or `[.., M, 1]`.
fn x_zero(i: &Infer<'_>, x: &Operand, of_rows: Fold) -> Result<Fold> {
    let Some(zero) = typed_zero(i, 2, x)? else { return Ok(Vec::new()) };
    let mut rows = x.shape.clone();
    if let Some(last) = rows.last_mut() {
        *last = Dim::ONE;
    }
    match zero.shape.as_slice() {
        [one] if *one == Dim::ONE => Ok(vec![(C, 1)]),
        own if own == rows => Ok(of_rows),
        own => Err(Error::Shape(format!(
            "matmul_integer: `x_zero` is {}, but `x` has room for [1] or {}",
            i.show(own),
            i.show(&rows)
        ))),
    }
}

/// How those of columns do: `[1]` or `[N]`.
fn w_zero(i: &Infer<'_>, w: &Operand, n: &Dim) -> Result<Fold> {
    let Some(zero) = typed_zero(i, 3, w)? else { return Ok(Vec::new()) };
    match zero.shape.as_slice() {
        [one] if *one == Dim::ONE => Ok(vec![(B, 1)]),
        [columns] => i.same(N, (1, n), (3, columns)).map(|()| vec![(N, 1)]),
        own => Err(Error::Shape(format!(
            "matmul_integer: `w_zero` is {}, but it must be [1] or [{}]",
            i.show(own),
            n.show(i.scalars)
        ))),
    }
}

/// An operand's zero point, which has its type.
fn typed_zero<'a>(i: &Infer<'a>, at: usize, of: &Operand) -> Result<Option<&'a Operand>> {
    let Some(zero) = i.inputs.get(at).and_then(Option::as_ref) else { return Ok(None) };
    if zero.dtype == of.dtype {
        return Ok(Some(zero));
    }
    let (name, other) = (i.op.inputs[at].name, i.op.inputs[at - 2].name);
    Err(Error::Argument(format!("matmul_integer: `{name}` is {}, but `{other}` is {}", zero.dtype, of.dtype)))
}

// Exact but for what its operands are uncertain: numbers that lie at a tie, where they were made.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let (b, m, n, k) = (c.sizes.get(B), c.sizes.get(M), c.sizes.get(N), c.sizes.get(K));
    let (x, w) = (c.input(0), c.input(1));
    let zero = |i: usize, at: usize| {
        c.inputs[i].map_or((0.0, 0.0), |zero| zero.at(if zero.value.len() == 1 { 0 } else { at }))
    };
    let mut out = Approx::exact(&[b, m, n], vec![0.0; b * m * n]);
    for_each_row(n, &mut out.value, &mut out.error, b * m * n * k, |row, value, error| {
        let (zx, zx_error) = zero(2, row);
        for col in 0..n {
            let (zw, zw_error) = zero(3, col);
            let at_w = (row / m * n + col) * k % w.value.len().max(1);
            for i in 0..k {
                let ((xv, xe), (wv, we)) = (x.at(row * k + i), w.at(at_w + i));
                let (xv, xe, wv, we) = (xv - zx, xe + zx_error, wv - zw, we + zw_error);
                value[col] += xv * wv;
                error[col] += xe * wv.abs() + we * (xv.abs() + xe);
            }
        }
    });
    vec![out]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let (m, n, k) = (shape.sizes.get(M), shape.sizes.get(N), shape.sizes.get(K));
    // There are no floats among its operands: the second type stands for the other whole numbers.
    let x_type = if shape.x == DType::F32 { DType::I8 } else { DType::U8 };
    let leading = if shape.variant == 3 { vec![Dim::from(3), m.into()] } else { vec![m.into()] };
    let rows = |last: usize| [leading.as_slice(), &[Dim::from(last)]].concat();
    let x = g.input("x", x_type, &rows(k))?;
    let w = match shape.variant {
        3 => g.input("w", shape.w, &[3.into(), n.into(), k.into()])?,
        _ => g.weight("w", shape.w, &[n, k])?,
    };
    let zeros = match shape.variant {
        1 => [vec![Dim::ONE], vec![Dim::ONE]],
        2 | 3 => [rows(1), vec![n.into()]],
        _ => {
            let mut y = g.matmul_integer(x, w, None, None)?;
            if shape.variant == 4 {
                y = g.cast(y, DType::F32)?;
                y = g.scale(y, Attr::F32(0.25))?;
                let column = g.weight("column", DType::F32, &[n])?;
                y = g.mul(y, column)?;
            }
            return g.output("y", y);
        }
    };
    let x_zero = g.input("x_zero", x_type, &zeros[0])?;
    let w_zero = g.input("w_zero", shape.w, &zeros[1])?;
    let y = g.matmul_integer(x, w, Some(x_zero), Some(w_zero))?;
    g.output("y", y)
}

impl Graph {
    /// y = (x - x_zero) · (w - w_zero)ᵀ, exactly, as i32: `x [.., K]` with `w [N, K]` gives `[.., N]`; `x [B,
    /// M, K]` with `w [B, N, K]` gives `[B, M, N]`. Each of `x` and `w` is i8 or u8. Zero points, 0 unless
    /// given, have the type of what they belong to: `x_zero` is `[1]` or `[.., 1]`, one for each row; `w_zero`
    /// is `[1]` or `[N]`. i32 can be [cast](Self::cast) to f32 and scaled there, which costs no step of its own.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ, or K is more than 33025; [`Error::Argument`] for types.
    pub fn matmul_integer(
        &mut self,
        x: ValueId,
        w: ValueId,
        x_zero: Option<ValueId>,
        w_zero: Option<ValueId>,
    ) -> Result<ValueId> {
        self.apply_one(&MATMUL_INTEGER, &[Some(x), Some(w), x_zero, w_zero], &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named_with_both_sides() {
        let mut g = Graph::new();
        let mut input = |name: &str, dtype, shape: &[u64]| {
            let dims: Vec<Dim> = shape.iter().map(|n| (*n).into()).collect();
            g.input(name, dtype, &dims).unwrap()
        };
        let (x, w) = (input("x", DType::U8, &[2, 3, 8]), input("w", DType::I8, &[5, 8]));
        let [rows, few, signed] = [
            input("rows", DType::U8, &[2, 3, 1]),
            input("few", DType::U8, &[3]),
            input("signed", DType::I8, &[1]),
        ];
        let (wide, long) = (input("wide", DType::I8, &[1, 33026]), input("long", DType::I8, &[5, 33026]));
        let y = g.matmul_integer(x, w, Some(rows), Some(signed)).unwrap();
        assert_eq!(g.value(y).dtype, DType::I32);
        let mut say = |x, w, zero| g.matmul_integer(x, w, Some(zero), None).unwrap_err().to_string();
        assert_eq!(say(x, w, few), "matmul_integer: `x_zero` is [3], but `x` has room for [1] or [2, 3, 1]");
        assert_eq!(say(x, w, signed), "matmul_integer: `x_zero` is i8, but `x` is u8");
        let many = "matmul_integer: its sums are i32, and hold 33025 products, but K is 33026";
        assert_eq!(say(wide, long, signed), many);
    }
}

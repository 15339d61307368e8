//! What products with experts are, in f64, and what an f32 kernel may round.

use std::borrow::Cow;

use super::GATES;
use crate::dtype::DType;
use crate::numerics::{Approx, grain, round_error, sum_error};
use crate::op::Axis::{C, E, K, M, U};
use crate::op::RefCall;
use crate::ops::elementwise::unary;
use crate::ops::for_each_row;

/// A table of weights with, for each row, the power of two that all of it are multiples of.
struct Table<'a> {
    w: Cow<'a, Approx>,
    grains: Vec<f64>,
}

impl<'a> Table<'a> {
    fn of(c: &RefCall<'a>, i: usize) -> Option<Self> {
        let mut w = Cow::Borrowed(c.inputs[i]?);
        if c.dtypes[i].is_some_and(|d| d.is_blocks() || d == DType::Bf16) {
            let Approx { value, error, .. } = w.to_mut();
            error.iter_mut().zip(value).for_each(|(e, v)| *e = round_error(*v, *e));
        }
        let grains = w.value.chunks(c.sizes.get(K).max(1)).map(finest).collect();
        Some(Self { w, grains })
    }

    /// The product of a row of x with a row of the table.
    fn product(&self, (xs, xe): (&[f64], &[f64]), x_grain: f64, row: usize) -> (f64, f64) {
        let k = xs.len();
        let (ws, we) = (&self.w.value[row * k..(row + 1) * k], &self.w.error[row * k..(row + 1) * k]);
        let (mut value, mut magnitude, mut inherited) = (0.0, 0.0, 0.0);
        for i in 0..k {
            let term = xs[i] * ws[i];
            value += term;
            magnitude += term.abs();
            inherited += xs[i].abs() * we[i] + xe[i] * (ws[i].abs() + we[i]);
        }
        let w_grain = self.grains.get(row).copied().unwrap_or(1.0);
        let exact = match x_grain.is_finite() && w_grain.is_finite() {
            // What a kernel adds up is only near these values, and no multiple of anything.
            _ if inherited > 0.0 => 0.0,
            true => x_grain * w_grain,
            false => 1.0,
        };
        (value, inherited + sum_error(k as u64, magnitude, exact))
    }
}

fn finest(v: &[f64]) -> f64 {
    v.iter().fold(f64::INFINITY, |g, v| g.min(grain(*v)))
}

// Sums as a matmul's: min(n, λ√n)·u·Σ|x·w| and what errors of the inputs add. A gate is a function of such a
// sum, with its own error, times another: one more rounding.
pub(super) fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [m, u, experts, columns, k] = [M, U, E, C, K].map(|a| c.sizes.get(a));
    let (x, ids) = (c.input(0), c.input(3));
    let (Some(w), up) = (Table::of(c, 1), Table::of(c, 2)) else { return Vec::new() };
    let act = GATES.get(c.attr("act") as usize).copied().unwrap_or(GATES[0]);
    let mut out = Approx::exact(&[m, u, columns], vec![0.0; m * u * columns]);
    let work = m * u * columns * k;
    for_each_row(columns, &mut out.value, &mut out.error, work, |pair, value, error| {
        let e = ids.value[pair] as usize;
        if e >= experts {
            return;
        }
        let row = if x.value.len() == m * u * k { pair } else { pair / u };
        let xs = (&x.value[row * k..(row + 1) * k], &x.error[row * k..(row + 1) * k]);
        let x_grain = finest(xs.0);
        for (column, (value, error)) in value.iter_mut().zip(error).enumerate() {
            let at = e * columns + column;
            let one = w.product(xs, x_grain, at);
            (*value, *error) = match &up {
                None => one,
                Some(up) => {
                    let (gate, ge) = unary::of(act, one, [0.0; 2], DType::F32);
                    let (v, ve) = up.product(xs, x_grain, at);
                    (gate * v, round_error(gate * v, gate.abs() * ve + ge * (v.abs() + ve)))
                }
            };
        }
    });
    vec![out]
}

//! What a position of RWKV-7's time-mix means, head by head.

use crate::dtype::DType;
use crate::numerics::recurrence::{Number, Row, Step};
use crate::numerics::{Approx, Sum, round_error, sum_of};
use crate::op::Axis::{B, D, H, T};
use crate::op::{RefCall, Unary};
use crate::ops::elementwise::unary::{self, FLOOR, ROUND, exp_error};
use crate::ops::for_each_row;
use crate::ops::l2_normalize::unit_row;
use crate::ops::layer_norm::{normal_row, scaled};

/// e^(-1/2), as the shader has it.
const RATE: f64 = 0.606_530_67_f32 as f64;

fn product((x, ex): Number, (y, ey): Number) -> Number {
    (x * y, round_error(x * y, ex * (y.abs() + ey) + x.abs() * ey))
}

fn sigmoid(x: Number) -> Number {
    unary::of(Unary::Sigmoid, x, [0.0; 2], DType::F32)
}

/// The decay with what the kernel may be off, and how far an error of what it is made from carries.
fn decay(w: Number) -> (Number, f64) {
    let of = |w: Number| {
        let (x, e) = product((RATE, 0.0), sigmoid(w));
        let d = (-x).exp();
        // At 2⁻⁷ to 2⁻⁶ the error of the exponential, which is the larger one.
        let own = if x < 2f64.powi(-7) { 3.0 * ROUND * x + ROUND + x.powi(4) / 24.0 } else { exp_error(x) };
        (d, d * (e + own) + FLOOR)
    };
    let own = of((w.0, 0.0));
    let end = |w: f64| (of((w, 0.0)).0 - own.0).abs();
    (own, if w.1 == 0.0 { 0.0 } else { end(w.0 - w.1).max(end(w.0 + w.1)) })
}

/// A position of a head: what it does to the state, and what is read from that.
struct Position {
    step: Step,
    read: Vec<Number>,
    value: Vec<Number>,
    bonus: Number,
    gate: Vec<Number>,
}

/// `at` counts over [B, T].
fn position(c: &RefCall<'_>, at: usize, head: usize) -> Position {
    let [b, t, h, d] = [B, T, H, D].map(|a| c.sizes.get(a));
    let (rkv, gates, vectors, first) = (c.input(0), c.input(1), c.input(2), c.inputs[3]);
    let of = |n: usize, j: usize| rkv.at(((at * 3 + n) * h + head) * d + j);
    let vector = |n: usize, j: usize| vectors.at((n * h + head) * d + j);
    let low = |n: usize, j: usize| gates.at(((n * b * t + at) * h + head) * d + j);
    let w = usize::from(first.is_some());
    let read: Vec<Number> = (0..d).map(|j| of(0, j)).collect();
    let rate: Vec<Number> = (0..d).map(|j| sigmoid(sum_of(vector(1, j), low(w + 1, j)))).collect();
    let key = |j: usize| {
        let less = product(sum_of(rate[j], (-1.0, 0.0)), vector(4, j));
        product(of(1, j), sum_of(less, (1.0, 0.0)))
    };
    let key: Vec<Number> = (0..d).map(key).collect();
    let value = |j: usize| {
        let Some(first) = first else { return of(2, j) };
        let share = sigmoid(sum_of(vector(2, j), low(0, j)));
        let (v, e) = of(2, j);
        sum_of((v, e), product(sum_of(first.at((at * h + head) * d + j), (-v, e)), share))
    };
    let (mut unit, mut off): (Vec<f64>, Vec<f64>) = (0..d).map(|j| product(of(1, j), vector(3, j))).unzip();
    unit_row(&mut unit, &mut off, c.attr("norm_eps"));
    let erase = |j: usize| ((-unit[j], off[j]), product((unit[j], off[j]), rate[j]));
    let (decay, decay_given) = (0..d).map(|j| decay(sum_of(vector(0, j), low(w, j)))).unzip();
    let mut bonus = Sum::new();
    for j in 0..d {
        let (term, e) = product(product(read[j], key[j]), vector(5, j));
        bonus.add(term, e);
    }
    Position {
        step: Step { decay, decay_given, erase: (0..d).map(erase).collect(), key },
        read,
        value: (0..d).map(value).collect(),
        bonus: bonus.finish(),
        gate: (0..d).map(|j| low(w + 2, j)).collect(),
    }
}

// The gates as the functions that they are; a recurrence, row by row; its results as a row of a layer norm; a sum
// and two products.
pub(super) fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [b, t, h, d] = [B, T, H, D].map(|a| c.sizes.get(a));
    let state = c.input(4);
    // For each head: its results of all positions, then what is left of its rows.
    let long = (t + d) * d;
    let (mut value, mut error) = (vec![0.0; b * h * long], vec![0.0; b * h * long]);
    for_each_row(long, &mut value, &mut error, b * h * t * d * d * d, |at, value, error| {
        let (batch, head) = (at / h, at % h);
        let row = |i: usize| Row::new((0..d).map(|j| state.at((at * d + i) * d + j)));
        let mut rows: Vec<Row> = (0..d).map(row).collect();
        for s in 0..t {
            let now = position(c, batch * t + s, head);
            let (value, error) = (&mut value[s * d..][..d], &mut error[s * d..][..d]);
            for (i, row) in rows.iter_mut().enumerate() {
                row.step(&now.step, now.value[i], None);
                (value[i], error[i]) = row.read(now.read.iter().copied());
            }
            if !normal_row(value, error, c.attr("eps")) {
                continue;
            }
            for i in 0..d {
                let vector = |n: usize| c.input(2).at((n * h + head) * d + i);
                let normal = scaled((value[i], error[i]), vector(6), vector(7));
                let all = sum_of(normal, product(now.bonus, now.value[i]));
                (value[i], error[i]) = product(all, now.gate[i]);
            }
        }
        for (i, row) in rows.iter().enumerate() {
            (0..d).for_each(|j| (value[(t + i) * d + j], error[(t + i) * d + j]) = row.at(j));
        }
    });
    let mut y = Approx::exact(&[b, t, h, d], vec![0.0; b * t * h * d]);
    let mut left = Approx::exact(&[b, h, d, d], vec![0.0; b * h * d * d]);
    for at in 0..b * h {
        for s in 0..t {
            let (from, to) = (at * long + s * d, ((at / h * t + s) * h + at % h) * d);
            y.value[to..to + d].copy_from_slice(&value[from..from + d]);
            y.error[to..to + d].copy_from_slice(&error[from..from + d]);
        }
        let (from, to) = (at * long + t * d, at * d * d);
        left.value[to..to + d * d].copy_from_slice(&value[from..from + d * d]);
        left.error[to..to + d * d].copy_from_slice(&error[from..from + d * d]);
    }
    vec![y, left]
}

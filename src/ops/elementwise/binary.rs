//! The functions of two operands: their values, and what evaluating them as the shaders do may cost.

use super::unary::{DIVISION, ROUND, exp_error, log_error, quotient_error};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::numerics::{Approx, U32, is_representable, round_error, sum_of};
use crate::op::Axis::{C, R};
use crate::op::{Binary, Op, RefCall, Shape};
use crate::rng::Rng;

/// f(x, y) and its error, given the errors of both. Errors of the operands to first order and the
/// product of both; a + b and a - b round once, a·b once, a / b by 2.5 ulp.
fn at(f: Binary, (x, ex): (f64, f64), (y, ey): (f64, f64)) -> (f64, f64) {
    let truth = |holds: bool| {
        // Either answer, if they may be on either side of each other.
        let close = ex + ey > 0.0 && (x - y).abs() <= ex + ey;
        (f64::from(u8::from(holds)), f64::from(u8::from(close)))
    };
    match f {
        Binary::Add => sum_of((x, ex), (y, ey)),
        Binary::Sub => sum_of((x, ex), (-y, ey)),
        Binary::Mul => (x * y, round_error(x * y, x.abs() * ey + y.abs() * ex + ex * ey)),
        Binary::Div => {
            let v = x / y;
            let inherited = (ex + v.abs() * ey) / (y.abs() - ey).max(0.0);
            (v, round_error(v, inherited + quotient_error(v)))
        }
        Binary::Pow => power((x, ex), (y, ey)),
        Binary::Minimum => (x.min(y), ex.max(ey)),
        Binary::Maximum => (x.max(y), ex.max(ey)),
        Binary::Equal => truth(x == y),
        Binary::Less => truth(x < y),
        Binary::LessEqual => truth(x <= y),
        Binary::Greater => truth(x > y),
        Binary::GreaterEqual => truth(x >= y),
    }
}

// A whole exponent n up to 64 by squaring: n roundings, none if the power is exact, and a division if
// it is negative. Others as exp2(t), t = b·log2|a|: log2's error b times, a product, and exp2's
// (3 + 2|t|) ulp.
fn power((x, ex): (f64, f64), (y, ey): (f64, f64)) -> (f64, f64) {
    let v = x.powf(y);
    let whole = y.fract() == 0.0;
    if !v.is_finite() || x < 0.0 && (!whole || ey > 0.0) || x == 0.0 && y < 0.0 {
        return (v, f64::INFINITY); // nothing is promised
    }
    let inherited = if ex + ey == 0.0 {
        0.0
    } else if x.abs() <= ex {
        f64::INFINITY
    } else {
        // d(aᵇ) = aᵇ·(b·da/a + ln(a)·db), and what the exponential makes of that
        v.abs() * (y.abs() * ex / (x.abs() - ex) + x.abs().ln().abs() * ey).exp_m1()
    };
    let own = if x == 0.0 {
        0.0
    } else if whole && y.abs() <= 64.0 && ey == 0.0 {
        let exact = ex == 0.0 && is_representable(x.powf(y.abs()), DType::F32);
        v.abs() * if exact { 0.0 } else { y.abs() * ROUND } + if y < 0.0 { v.abs() * DIVISION } else { 0.0 }
    } else {
        let (log, t) = (x.abs().log2(), y * x.abs().log2());
        let of_t = y.abs() * log_error(x.abs(), log) + ROUND * t.abs();
        v.abs() * (of_t * std::f64::consts::LN_2 + exp_error(t))
    };
    let exact = own == 0.0 && inherited == 0.0 && is_representable(v, DType::F32);
    (v, if exact { 0.0 } else { round_error(v, inherited + own) + 4.0 * U32 * v.abs() })
}

pub(super) fn reference(c: &RefCall<'_>, f: Binary) -> Approx {
    let (a, b) = (c.input(0), c.input(1));
    let (full, width) = if a.shape.len() >= b.shape.len() { (a, b.value.len()) } else { (b, a.value.len()) };
    let mut out = full.clone();
    let pick =
        |t: &Approx, i: usize| if t.shape.len() == full.shape.len() { t.at(i) } else { t.at(i % width) };
    for i in 0..full.value.len() {
        (out.value[i], out.error[i]) = at(f, pick(a, i), pick(b, i));
    }
    out
}

/// The ways in which a function is tested: how the operands are broadcast, and that `b` may be int8.
pub(super) const VARIANTS: &[&str] =
    &["full", "row", "row_first", "column", "column_first", "outer", "one", "middle", "by_i8"];

/// The shapes of both operands of a case, over [R, C] or, for `middle`, [2, R, C].
fn shapes(shape: &Shape) -> [Vec<usize>; 2] {
    let (r, c) = (shape.sizes.get(R), shape.sizes.get(C));
    match VARIANTS[shape.variant] {
        "row" => [vec![r, c], vec![c]],
        "row_first" => [vec![c], vec![r, c]],
        "column" => [vec![r, c], vec![r, 1]],
        "column_first" => [vec![r, 1], vec![r, c]],
        "outer" => [vec![r, 1], vec![1, c]],
        "one" => [vec![r, c], vec![1]],
        "middle" => [vec![2, r, c], vec![2, 1, c]],
        _ => [vec![r, c], vec![r, c]],
    }
}

pub(super) fn build(g: &mut Graph, shape: &Shape, op: &'static Op) -> Result<()> {
    let [a, b] = shapes(shape).map(|s| s.into_iter().map(crate::Dim::from).collect::<Vec<_>>());
    let by_i8 = VARIANTS[shape.variant] == "by_i8";
    let a = g.input("a", shape.x, &a)?;
    let b = g.input("b", if by_i8 { DType::I8 } else { shape.x }, &b)?;
    let y = g.apply_one(op, &[Some(a), Some(b)], &[])?;
    g.output("y", y)
}

/// A divisor stays away from zero: next to it any quotient would be allowed. A power has a positive
/// base where its exponent is no whole number.
pub(super) fn fill(f: Binary, name: &str, shape: &Shape, rng: &mut Rng) -> Option<Vec<f64>> {
    let [a, b] = shapes(shape);
    let (own, width) = if name == "a" { (a, shape.sizes.get(C)) } else { (b, shape.sizes.get(C)) };
    let by_i8 = VARIANTS[shape.variant] == "by_i8";
    let n: usize = own.iter().product();
    // By columns, so that a row goes with every row; of one column all are whole.
    let is_whole = |i: usize| own.last() != Some(&width) || !(i % width.max(1)).is_multiple_of(2);
    let full = shapes(shape).iter().all(|s| s.last() == Some(&width)) && width > 1 && !by_i8;
    let one = |i: usize, rng: &mut Rng| match (f, name) {
        // Exponents past those that are done by squaring, the last of those, and powers of 0.
        (Binary::Pow, "a") if full && i % width % 8 == 3 => {
            rng.signed().signum() * (1.0 + rng.signed() / 64.0)
        }
        (Binary::Pow, _) if full && i % width % 8 == 3 => [64.0, 65.0, 66.0, -97.0][rng.below(4) as usize],
        (Binary::Pow, "a") if full && i % width % 8 == 4 => 0.0,
        (Binary::Pow, _) if full && i % width % 8 == 4 => 0.1 + rng.unit(),
        (Binary::Div, _) if by_i8 => (1.0 + rng.below(100) as f64) * rng.signed().signum(),
        (Binary::Div, _) => rng.signed().signum() * (0.5 + rng.unit()),
        (_, "a") if own.last() == Some(&width) && is_whole(i) => {
            (3.0 * rng.signed()).exp2() * rng.signed().signum()
        }
        (_, "a") => (3.0 * rng.signed()).exp2(),
        _ if is_whole(i) || by_i8 => rng.below(8) as f64 - 3.0,
        _ => 3.0 * rng.signed(),
    };
    let fills = match f {
        Binary::Div => name == "b",
        Binary::Pow => true,
        _ => false,
    };
    fills.then(|| (0..n).map(|i| one(i, rng)).collect())
}

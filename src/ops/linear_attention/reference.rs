//! What linear attention means, column by column of the state.

use crate::dtype::DType;
use crate::numerics::recurrence::{Number, Row, Step};
use crate::numerics::{Approx, round_error};
use crate::op::Axis::{B, C, D, G, H, T};
use crate::op::{RefCall, Unary};
use crate::ops::elementwise::unary;
use crate::ops::for_each_row;
use crate::ops::linear_attention::Reads;

// A column of the state is a row of a recurrence, and a position two steps: the decay, and I - beta·k·kᵀ. The
// decay is to what WGSL allows exp. The result is a sum of its own, and a product with the scale. Kernels take
// positions one by one or in chunks: the larger bound of both orders.
pub(super) fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [b, t, h, g, d, width] = [B, T, H, G, D, C].map(|a| c.sizes.get(a));
    let (q, v, state) = (c.input(0), c.input(2), c.inputs[5]);
    let (heads, scale) = (h / g.max(1), c.attr("scale"));
    let positions: Vec<_> = (0..b * t * g).map(|at| steps(c, at, d)).collect();
    // For each column: its results of all positions and heads, then what is left of it.
    let long = t * heads + d;
    let columns = b * g * width;
    let (mut value, mut error) = (vec![0.0; columns * long], vec![0.0; columns * long]);
    for_each_row(long, &mut value, &mut error, 2 * columns * t * d * d, |column, value, error| {
        let (head, i) = (column / width, column % width);
        let (batch, group) = (head / g, head % g);
        let start = |j: usize| state.map_or((0.0, 0.0), |s| s.at((head * d + j) * width + i));
        let before = || (0..d).map(start);
        let length = Reads { heads, key: c.attr("delta") == 1.0 }.chunk(d);
        let chunked = (length > 0).then(|| Row::in_chunks(before(), length));
        for mut row in [Row::new(before())].into_iter().chain(chunked) {
            for s in 0..t {
                let at = (batch * t + s) * g + group;
                let (steps, beta) = &positions[at];
                let v = v.at(at * width + i);
                for step in steps {
                    let v = if step.decay.is_empty() { v } else { (0.0, 0.0) };
                    row.step(step, v, (!step.erase.is_empty()).then_some((v.0, *beta)));
                }
                for k in 0..heads {
                    let from = ((batch * t + s) * h + group * heads + k) * d;
                    let (y, e) = row.read((from..from + d).map(|j| q.at(j)));
                    let out = s * heads + k;
                    value[out] = y * scale;
                    error[out] = error[out].max(round_error(y * scale, e * scale.abs()));
                }
            }
            row.finish();
            for j in 0..d {
                let (left, e) = row.at(j);
                (value[t * heads + j], error[t * heads + j]) = (left, error[t * heads + j].max(e));
            }
        }
    });
    let mut y = Approx::exact(&[b, t, h, width], vec![0.0; b * t * h * width]);
    let mut left = Approx::exact(&[b, g, d, width], vec![0.0; b * g * d * width]);
    for column in 0..columns {
        let (head, i) = (column / width, column % width);
        for at in 0..long {
            let from = column * long + at;
            let (to, to_at) = match at.checked_sub(t * heads) {
                Some(j) => (&mut left, (head * d + j) * width + i),
                None => {
                    let (s, k) = (at / heads, at % heads);
                    (&mut y, (((head / g) * t + s) * h + head % g * heads + k) * width + i)
                }
            };
            (to.value[to_at], to.error[to_at]) = (value[from], error[from]);
        }
    }
    vec![y, left]
}

/// What a position does to the state of a head, and its beta: `at` counts over [B, T, G].
fn steps(c: &RefCall<'_>, at: usize, d: usize) -> (Vec<Step>, f64) {
    let (k, decay, beta) = (c.input(1), c.inputs[3], c.inputs[4]);
    let mut out = Vec::new();
    if let Some(decay) = decay {
        let each = decay.value.len() > c.sizes.product(&[B, T, G]) as usize;
        let of = |j: usize| {
            let (x, e) = decay.at(if each { at * d + j } else { at });
            let exp = |e: f64| unary::of(Unary::Exp, (x, e), [0.0; 2], DType::F32);
            let own = exp(0.0);
            (own, exp(e).1 - own.1)
        };
        let (decay, decay_given): (Vec<Number>, Vec<f64>) = (0..d).map(of).unzip();
        out.push(Step { decay, decay_given, ..Step::default() });
    }
    let delta = c.attr("delta") == 1.0;
    let (beta, eb) = beta.map_or((1.0, 0.0), |beta| beta.at(at));
    let mut step = Step::default();
    for j in at * d..at * d + d {
        let (key, e) = k.at(j);
        let off = beta.abs() * e + eb * (key.abs() + e);
        step.key.push((beta * key, off));
        if delta {
            step.erase.push(((key, e), (-beta * key, off)));
        }
    }
    out.push(step);
    (out, beta)
}

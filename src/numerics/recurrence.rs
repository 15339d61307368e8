//! Error analysis of linear recurrences: what the roundings of many steps come to in a state that each step
//! maps to the next.
//!
//! Rounding errors enter a row s of the state at every step, and are carried on by the same linear map
//! M = diag(d) + b·aᵀ as the row itself. As for sums they are taken as independent and of mean 0, each at most ω:
//! what has become of all of them is then a sum of independent bounded terms, at most λ times the root of the
//! sum of their squares (Hoeffding, as Higham and Mary use him). Those sums are the diagonal of P, which goes
//! P ← M·P·Mᵀ + diag(ω²) + ω_a²·b·bᵀ, where ω_a is the scalar a·s's. The worst case, e ← |M|·e + ω, is a bound
//! too, and the better one for a few steps; then it grows where the state does not. Errors of inputs follow no
//! such law: those go by |M|.
//!
//! A kernel may take steps in chunks and form no state within one ([`Row::in_chunks`]). The map is the same, and
//! so is what becomes of an error; other numbers round. See [`chunk`].

use super::{EITHER_NEIGHBOUR, LAMBDA, Sum, U32, grain, sum_error};
use crate::dtype::DType;
use chunk::{Chunk, Learnt};

mod chunk;

/// A number with its error.
pub(crate) type Number = (f64, f64);

/// What a step does to every row of a state: s ← d∘s + v·k + (a·s)·b.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// d, with what kernels may be off that make it; nothing stands for ones.
    pub decay: Vec<Number>,
    /// By how much d is off for errors of its inputs; nothing stands for zeros.
    pub decay_given: Vec<f64>,
    /// a and b, or nothing for neither.
    pub erase: Vec<(Number, Number)>,
    /// k, or nothing.
    pub key: Vec<Number>,
}

/// A row of a state on its way through the steps.
#[derive(Debug)]
pub(crate) struct Row {
    value: Vec<f64>,
    /// The worst case of roundings and inputs' errors.
    worst: Vec<f64>,
    /// The worst case of inputs' errors alone.
    given: Vec<f64>,
    /// P, row by row; nothing while it is 0.
    spread: Vec<f64>,
    /// What a kernel has in place of the state, if it takes steps in chunks.
    chunk: Option<Chunk>,
}

const ROUND: f64 = EITHER_NEIGHBOUR * U32;
/// What flushing may take away.
const FLOOR: f64 = f32::MIN_POSITIVE as f64;

/// What a sum's own roundings come to: at worst, and as one rounding of mean 0.
fn rounded(sum: &Sum) -> [f64; 2] {
    if sum_error(sum.count, sum.magnitude, sum.grain) == 0.0 {
        return [0.0; 2];
    }
    let n = sum.count as f64 + 1.0;
    [n, n.sqrt()].map(|n| n * U32 * sum.magnitude + n * FLOOR)
}

impl Row {
    /// A row before the first step.
    pub fn new(start: impl Iterator<Item = Number>) -> Self {
        let (value, worst): (Vec<_>, Vec<_>) = start.unzip();
        Self { value, given: worst.clone(), worst, spread: Vec::new(), chunk: None }
    }

    /// Likewise for a kernel that takes steps in chunks, in each of which `length` learn.
    pub fn in_chunks(start: impl Iterator<Item = Number>, length: usize) -> Self {
        Self { chunk: Some(Chunk::new(length)), ..Self::new(start) }
    }

    /// Before a step one chunk may have to end, and another to begin.
    fn begin(&mut self) {
        if self.chunk.as_ref().is_some_and(Chunk::is_full) {
            self.finish();
        }
        if self.chunk.as_ref().is_some_and(Chunk::is_over) {
            let state: Vec<_> = (0..self.value.len()).map(|j| self.at(j)).collect();
            self.chunk.iter_mut().for_each(|chunk| chunk.begin(&state));
        }
    }

    /// After the last step a chunk ends, wherever it is.
    pub fn finish(&mut self) {
        let Some(chunk) = &mut self.chunk else { return };
        let rounded = chunk.end();
        let n = self.value.len();
        if self.spread.is_empty() && rounded.iter().any(|[square, _]| *square > 0.0) {
            self.spread = vec![0.0; n * n];
        }
        for (j, [square, worst]) in rounded.into_iter().enumerate().filter(|(_, r)| r[0] > 0.0) {
            self.spread[j * n + j] += square;
            self.worst[j] += worst;
        }
    }

    /// An element with the error that it allows.
    pub fn at(&self, j: usize) -> Number {
        let n = self.value.len();
        let random = self.spread.get(j * n + j).map_or(0.0, |p| LAMBDA * p.sqrt());
        (self.value[j], self.worst[j].min(self.given[j] + random))
    }

    /// r·s with its error.
    pub fn read(&self, r: impl Iterator<Item = Number> + Clone) -> Number {
        let n = self.value.len();
        let (mut sum, mut of_r, mut worst, mut given) = (Sum::new(), 0.0, 0.0, 0.0);
        for (j, (x, e)) in r.clone().enumerate() {
            sum.add(x * self.value[j], 0.0);
            of_r += if e == 0.0 { 0.0 } else { e * (self.value[j].abs() + self.at(j).1) };
            worst += x.abs() * self.worst[j];
            given += x.abs() * self.given[j];
        }
        let mut square = 0.0;
        if !self.spread.is_empty() {
            for (row, (x, _)) in self.spread.chunks(n).zip(r.clone()) {
                square += x * row.iter().zip(r.clone()).map(|(p, (y, _))| p * y).sum::<f64>();
            }
        }
        let (value, mut own) = sum.finish();
        if let Some(chunk) = &self.chunk {
            own = chunk.sum(r).together();
        }
        (value, own + of_r + worst.min(given + LAMBDA * square.max(0.0).sqrt()))
    }

    /// One step, `v` being the row's own number. `beside` is what a·s is subtracted from, and what that is scaled
    /// by, where kernels do so before they multiply by what is left of b and k, which differ in sign alone.
    pub fn step(&mut self, step: &Step, v: Number, beside: Option<(f64, f64)>) {
        self.begin();
        let n = self.value.len();
        let (mut sum, mut worst, mut given) = (Sum::new(), 0.0, 0.0);
        for (j, ((a, ea), _)) in step.erase.iter().enumerate() {
            sum.add(a * self.value[j], 0.0);
            worst += a.abs() * self.worst[j] + ea * (self.value[j].abs() + self.worst[j]);
            given += a.abs() * self.given[j] + ea * (self.value[j].abs() + self.given[j]);
        }
        let [own_worst, mut own] = match &self.chunk {
            None => rounded(&sum),
            Some(chunk) => chunk.sum(step.erase.iter().map(|e| e.0)).apart(),
        };
        let mut scalar = [worst + own_worst, given];
        if let Some(beside) = beside {
            let [square, worst] = beside_rounds(sum.value, own == 0.0, beside);
            scalar[0] += worst;
            own = (own * own + square).sqrt();
        }
        let mut squares = vec![0.0; n];
        // Whether a product is exactly that: nothing is off, or a factor is nothing.
        let exact = |x: Number, y: Number| x.1 + y.1 == 0.0 || x == (0.0, 0.0) || y == (0.0, 0.0);
        for (j, own_square) in squares.iter_mut().enumerate() {
            let (s, here) = self.at(j);
            let (d, off) = step.decay.get(j).copied().unwrap_or((1.0, 0.0));
            let d_given = step.decay_given.get(j).copied().unwrap_or(0.0);
            let (k, ek) = step.key.get(j).copied().unwrap_or_default();
            let (b, eb) = step.erase.get(j).map_or((0.0, 0.0), |e| e.1);
            let terms = [d * s, v.0 * k, b * sum.value];
            let most: f64 = terms.iter().map(|t| t.abs()).sum();
            let mut square = (off * s).powi(2);
            let mut at_worst = off * (s.abs() + here);
            if let Some(chunk) = &mut self.chunk {
                let added =
                    [(terms[1], exact(v, (k, ek))), (terms[2], exact((sum.value, scalar[0]), (b, eb)))];
                let [own, most] = chunk.carry(j, (d, off + d_given), (s, here), added);
                square += own;
                at_worst += most;
            } else if !holds(most, terms.into_iter()) {
                // A product rounds once, and each of two sums.
                let most = most + d.abs() * here;
                square += ROUND * ROUND * (terms.map(|t| t * t).iter().sum::<f64>() + 2.0 * most * most)
                    + 25.0 * FLOOR * FLOOR;
                at_worst += 3.0 * ROUND * most + 5.0 * FLOOR;
            }
            let inputs = |own: f64, scalar: f64| {
                d.abs() * own
                    + d_given * (s.abs() + own)
                    + v.0.abs() * ek
                    + v.1 * (k.abs() + ek)
                    + b.abs() * scalar
                    + eb * (sum.value.abs() + scalar)
            };
            self.worst[j] = inputs(self.worst[j], scalar[0]) + at_worst;
            self.given[j] = inputs(self.given[j], scalar[1]);
            self.value[j] = terms.iter().sum();
            *own_square = square;
        }
        if let Some(chunk) = &mut self.chunk {
            chunk.pass(learnt(step, n, sum.value, v.0, beside));
        }
        self.spread(step, own, &squares);
    }

    /// P ← M·P·Mᵀ + diag(squares) + own²·b·bᵀ.
    fn spread(&mut self, step: &Step, own: f64, squares: &[f64]) {
        let n = self.value.len();
        let is_new = own > 0.0 || squares.iter().any(|s| *s > 0.0);
        if self.spread.is_empty() {
            if !is_new {
                return;
            }
            self.spread = vec![0.0; n * n];
        }
        let decay = |j: usize| step.decay.get(j).map_or(1.0, |d| d.0);
        if step.erase.is_empty() {
            for (j, row) in self.spread.chunks_mut(n).enumerate() {
                row.iter_mut().enumerate().for_each(|(l, p)| *p *= decay(j) * decay(l));
                row[j] += squares[j];
            }
            return;
        }
        let (a, b): (Vec<f64>, Vec<f64>) = step.erase.iter().map(|(a, b)| (a.0, b.0)).unzip();
        let dot = |row: &[f64]| row.iter().zip(&a).map(|(p, a)| p * a).sum::<f64>();
        let pa: Vec<f64> = self.spread.chunks(n).map(dot).collect();
        let both = dot(&pa) + own * own;
        let decays: Vec<f64> = (0..n).map(decay).collect();
        for (j, row) in self.spread.chunks_mut(n).enumerate() {
            // d_j·(P_jl·d_l + (P·a)_j·b_l) + b_j·((P·a)_l·d_l + (a·P·a + ω_a²)·b_l)
            let (d, g, bj) = (decays[j], pa[j], b[j]);
            for l in 0..n {
                row[l] = d * (row[l] * decays[l] + g * b[l]) + bj * (pa[l] * decays[l] + both * b[l]);
            }
            row[j] += squares[j];
        }
    }
}

/// What rounds where a·s, a number of f32 if `exact`, is subtracted from a number and the difference scaled, as
/// an error of a·s: the square, if of mean 0, and at worst.
fn beside_rounds(sum: f64, exact: bool, (other, scale): (f64, f64)) -> [f64; 2] {
    let around = sum.abs() + other.abs();
    let finest = grain(sum).min(grain(other));
    let exact = exact && fits(around, finest);
    let scaled = exact && fits(around * scale.abs(), finest * grain(scale));
    let times = f64::from(2 - u8::from(exact) - u8::from(scaled));
    let each = ROUND * around + FLOOR / scale.abs().clamp(FLOOR, 1.0);
    [times * each * each, times * each]
}

/// What a step adds to a chunk of rows of `n`, a·s and the row's own number being `sum` and `v`.
fn learnt(step: &Step, n: usize, sum: f64, v: f64, beside: Option<(f64, f64)>) -> Learnt {
    let mut b: Vec<f64> = step.erase.iter().map(|e| e.1.0).collect();
    let mut k: Vec<f64> = step.key.iter().map(|k| k.0).collect();
    let learns = !b.is_empty() || !k.is_empty();
    let (mut terms, mut most) = ([sum, v], sum.abs() + v.abs());
    if let Some((other, scale)) = beside {
        k.clear();
        terms = [sum - other, 0.0];
        most = (sum.abs() + other.abs()) * scale.abs().max(1.0);
    }
    b.resize(n, 0.0);
    k.resize(n, 0.0);
    let [by_b, by_k] = terms;
    let terms = learns.then_some([(by_b, b), (by_k, k)]);
    Learnt { terms, most, decayed: !step.decay.is_empty() }
}

/// Whether terms whose sizes come to `most` are multiples of one power of two that 24 bits hold, so that nothing
/// of them rounds, in whatever order.
fn holds(most: f64, terms: impl Iterator<Item = f64>) -> bool {
    fits(most, terms.map(grain).fold(f64::INFINITY, f64::min))
}

/// Likewise for multiples of `finest`.
fn fits(most: f64, finest: f64) -> bool {
    most == 0.0 || most <= finest * 16_777_216.0 && finest >= DType::F32.min_normal()
}

#[cfg(test)]
mod tests;

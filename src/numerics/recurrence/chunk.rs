//! What rounds where a kernel takes steps in chunks.
//!
//! Within a chunk no state is formed. What the recurrence calls s is there as a sum: what decays have left of the
//! state before the chunk, s₀∘Πd, and of each step e since then u_e·(b_e∘Πd) and v_e·(k_e∘Πd), u_e being a·s
//! before it. All that is made of s is linear. So an error of s₀, of a decay or of an input does in both orders
//! the same, an error of u_e is one of the recurrence's scalar, and a rounding of a running product, which
//! everything later is made of, is one of the state in that step and column. What differs is what rounds:
//!
//! - A step multiplies the running products by d, but for the first that decays, which finds none: one rounding
//!   of each term.
//! - u = a·s, before the step, and y = r·s, after it, are a sum over columns for each term, as sums are, of one
//!   product more where decays have been multiplied out; and then two sums for each of those, in their order.
//! - A kernel that subtracts a·s from v, and scales that, has one term of a step in place of two.
//! - At the chunk's end s is summed in the order of steps. What is there after each is the recurrence's state,
//!   decayed since: so its sums are, and the products with u and v, but they are carried on by decays alone.
//!   One product more.
//!
//! Nothing of this rounds where all terms are multiples of a power of two, and without their signs come to what
//! 24 bits hold; which is more than what they leave in s. What is flushed of running products, or of their
//! products with a and r, is multiplied by s₀, u or v afterwards.

use super::{FLOOR, Number, ROUND, fits};
use crate::numerics::{LAMBDA, U32, grain};

/// What a kernel has in place of a row's state within a chunk.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    length: usize,
    /// s₀∘Πd.
    left: Vec<f64>,
    /// Of each step u with b∘Πd, and v with k∘Πd.
    terms: Vec<[(f64, Vec<f64>); 2]>,
    /// Σ|terms| of each column.
    size: Vec<f64>,
    /// A power of two of which all terms of a column are multiples; 0 where one of them may be off.
    grain: Vec<f64>,
    /// What sums at the end round: the square, if of mean 0, and at worst.
    ends: Vec<[f64; 2]>,
    /// Σ|s₀| and each |s₀|, Σ(|u| + |v|).
    start: (f64, Vec<f64>),
    learnt: f64,
    /// Whether a step had decays, so that running products are not ones.
    decayed: bool,
}

/// What a step adds to a chunk.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    /// u with b, and v with k; nothing of a step that only decays.
    pub terms: Option<[(f64, Vec<f64>); 2]>,
    /// What kernels multiply vectors by in that step, at most.
    pub most: f64,
    /// Whether the step had decays.
    pub decayed: bool,
}

/// What a sum over terms of all columns rounds: the square, if of mean 0, and at worst; and what is flushed.
#[derive(Default)]
pub(super) struct Rounds {
    square: f64,
    worst: f64,
    flushed: f64,
}

impl Rounds {
    /// At worst, and as one rounding of mean 0.
    pub fn apart(&self) -> [f64; 2] {
        [self.worst, self.square.sqrt()].map(|e| e + self.flushed)
    }

    /// The error of the sum.
    pub fn together(&self) -> f64 {
        self.worst.min(LAMBDA * self.square.sqrt()) + self.flushed
    }

    /// `n` times something may round by so much.
    fn add(&mut self, n: f64, each: f64) {
        self.square += n * each * each;
        self.worst += n * each;
    }
}

impl Chunk {
    pub fn new(length: usize) -> Self {
        Self { length, ..Self::default() }
    }

    /// Whether none has begun.
    pub fn is_over(&self) -> bool {
        self.size.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.terms.len() == self.length
    }

    /// A chunk begins at a state with its errors.
    pub fn begin(&mut self, state: &[Number]) {
        self.left = state.iter().map(|s| s.0).collect();
        self.size = state.iter().map(|(s, e)| s.abs() + e).collect();
        self.grain = state.iter().map(|(s, e)| if *e > 0.0 { 0.0 } else { grain(*s) }).collect();
        self.ends = vec![[0.0; 2]; state.len()];
        self.start = (self.size.iter().sum(), self.size.clone());
        (self.learnt, self.decayed) = (0.0, false);
    }

    /// What rounds in x·s.
    pub fn sum(&self, x: impl Iterator<Item = Number> + Clone) -> Rounds {
        let (mut most, mut finest) = (0.0, f64::INFINITY);
        for ((x, e), (size, own)) in x.clone().zip(self.size.iter().zip(&self.grain)) {
            if (x != 0.0 || e > 0.0) && *size > 0.0 {
                most += x.abs() * size;
                finest = finest.min(if e > 0.0 { 0.0 } else { grain(x) * own });
            }
        }
        let mut rounds = Rounds::default();
        if fits(most, finest) {
            return rounds;
        }
        let columns = self.size.len() as f64;
        let mut over_columns = |by: f64, of: &[f64]| {
            let pairs = x.clone().zip(of).map(|((x, _), y)| by * x * y);
            let (sum, most) = pairs.fold((0.0, 0.0), |(sum, most), term| (sum + term, most + term.abs()));
            rounds.add(columns + 1.0, U32 * most);
            rounds.add(f64::from(u8::from(self.decayed)), ROUND * most);
            sum
        };
        let mut total = over_columns(1.0, &self.left);
        let sums: Vec<_> =
            self.terms.iter().map(|e| e.each_ref().map(|(by, of)| over_columns(*by, of))).collect();
        for [u, v] in sums {
            rounds.add(2.0, ROUND * (total.abs() + u.abs() + v.abs()));
            total += u + v;
        }
        let each = columns + 3.0 + 4.0 * self.terms.len() as f64;
        rounds.flushed = FLOOR * (self.start.0 + 2.0 * columns * self.learnt + each);
        rounds
    }

    /// One column's step from a state with its error, and what is added, v·k and u·b, each with whether it is
    /// exactly that. What running products round: the square, if of mean 0, and at worst.
    pub fn carry(&mut self, j: usize, decay: Number, state: Number, added: [(f64, bool); 2]) -> [f64; 2] {
        let carried = decay.0.abs() * self.size[j];
        let own = match carried {
            0.0 => f64::INFINITY,
            _ if decay.1 > 0.0 => 0.0,
            _ => grain(decay.0) * self.grain[j],
        };
        let of = |(term, exact): &(f64, bool)| if *exact { grain(*term) } else { 0.0 };
        let new = added.map(|(term, _)| term.abs());
        self.size[j] = carried + new[0] + new[1];
        self.grain[j] = added.iter().map(of).fold(own, f64::min);
        self.left[j] *= decay.0;
        let (mut square, mut worst) = (self.left[j].powi(2), self.left[j].abs());
        for (by, of) in self.terms.iter_mut().flatten() {
            of[j] *= decay.0;
            square += (*by * of[j]).powi(2);
            worst += (*by * of[j]).abs();
        }
        let most = decay.0.abs() * (state.0.abs() + state.1) + new[0] + new[1];
        let [end, end_at_worst] = &mut self.ends[j];
        let squares = new.map(|t| t * t).iter().sum::<f64>() + 2.0 * most * most;
        *end = decay.0 * decay.0 * *end + ROUND * ROUND * squares + 16.0 * FLOOR * FLOOR;
        *end_at_worst = decay.0.abs() * *end_at_worst + 3.0 * ROUND * most + 4.0 * FLOOR;
        if !self.decayed || fits(carried, own) {
            return [0.0; 2];
        }
        let flushed = FLOOR * (self.start.1[j] + self.learnt);
        [ROUND * ROUND * square + flushed * flushed, ROUND * worst + flushed]
    }

    /// A step is over.
    pub fn pass(&mut self, learnt: Learnt) {
        self.learnt += learnt.most;
        self.terms.extend(learnt.terms);
        self.decayed |= learnt.decayed;
    }

    /// What rounds in each column where the chunk ends: the square, if of mean 0, and at worst.
    pub fn end(&mut self) -> Vec<[f64; 2]> {
        self.terms.clear();
        let size = std::mem::take(&mut self.size);
        let of = |(j, [square, worst]): (usize, [f64; 2])| {
            if fits(size[j], self.grain[j]) {
                return [0.0; 2];
            }
            let product = ROUND * self.left[j].abs() + FLOOR;
            [square + product * product, worst + product]
        };
        std::mem::take(&mut self.ends).into_iter().enumerate().map(of).collect()
    }
}

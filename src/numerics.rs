//! Running error analysis in f64: what each rounding of an f32 kernel may cost.
//!
//! A reference returns for each element its value and the error it allows. The rules are written
//! down once, here, and each op's file says how they apply to it.

use crate::dtype::DType;

pub(crate) mod recurrence;

/// Unit roundoff of f32, in which every kernel computes.
pub const U32: f64 = 1.0 / 16_777_216.0;

/// λ of the probabilistic bound on sums: |error| ≤ λ·√n·u·Σ|terms| but for a chance of
/// 2·exp(-λ²/2) (Higham and Mary 2019, theorem 2.4). 6 makes that 3 in 100 million.
pub const LAMBDA: f64 = 6.0;

/// WGSL lets correctly rounded operations fall to either neighbour, so one rounding costs up to
/// two unit roundoffs. Stores and subtractions are judged by this; long sums by [`LAMBDA`].
pub const EITHER_NEIGHBOUR: f64 = 2.0;

/// Values with the error that each allows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Approx {
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// The exact result of the formula.
    pub value: Vec<f64>,
    /// How far a right result may lie from it.
    pub error: Vec<f64>,
    /// Of a weight in blocks that have a least, what of each value is that; empty elsewhere.
    pub least: Vec<f64>,
    /// Of indices, what else is right: an element and another value for it, in the order of elements. Where
    /// errors of the inputs leave open which of several comes first, each of them may.
    pub also: Vec<(usize, f64)>,
}

impl Approx {
    /// Values without error.
    pub fn exact(shape: &[usize], value: Vec<f64>) -> Self {
        let error = vec![0.0; value.len()];
        Self { shape: shape.to_vec(), value, error, least: Vec::new(), also: Vec::new() }
    }

    /// What a kernel reads from storage of a type: denormal inputs may be flushed to zero.
    pub fn loaded(mut self, dtype: DType) -> Self {
        if dtype.is_float() {
            let floor = dtype.min_normal();
            for (v, e) in self.value.iter().zip(&mut self.error) {
                if *v != 0.0 && v.abs() < floor {
                    *e += v.abs();
                }
            }
        }
        self
    }

    /// What may become of the values when they are stored as a type.
    pub fn stored(mut self, dtype: DType) -> Self {
        if dtype.is_float() {
            for (v, e) in self.value.iter().zip(&mut self.error) {
                *e = store_error(*v, *e, dtype);
            }
        }
        self
    }

    /// Whether another value is right for an element too.
    pub fn admits(&self, element: usize, value: f64) -> bool {
        let start = self.also.partition_point(|(e, _)| *e < element);
        self.also[start..].iter().take_while(|(e, _)| *e == element).any(|(_, v)| *v == value)
    }

    /// One value and its error.
    pub fn at(&self, i: usize) -> (f64, f64) {
        (self.value[i], self.error[i])
    }
}

/// Whether a type holds a value exactly.
pub fn is_representable(v: f64, dtype: DType) -> bool {
    match dtype {
        DType::F16 => half::f16::from_f64(v).to_f64() == v && v.abs() >= DType::F16.min_normal() || v == 0.0,
        DType::F32 => f64::from(v as f32) == v && v.abs() >= DType::F32.min_normal() || v == 0.0,
        _ => true,
    }
}

/// The error after a value with error `e` is stored as `dtype`: nothing if an exact value fits.
pub fn store_error(v: f64, e: f64, dtype: DType) -> f64 {
    if e == 0.0 && is_representable(v, dtype) {
        return 0.0;
    }
    let rounded = e + EITHER_NEIGHBOUR * dtype.unit_roundoff() * (v.abs() + e);
    // What may be below the normal numbers may become 0.
    if v.abs() - rounded < dtype.min_normal() { rounded + dtype.min_normal() } else { rounded }
}

/// The error of one f32 operation whose exact result on its given inputs is `v`.
pub fn round_error(v: f64, e: f64) -> f64 {
    store_error(v, e, DType::F32)
}

/// x + y and its error as an f32 operation, given the errors of both.
pub fn sum_of((x, ex): (f64, f64), (y, ey): (f64, f64)) -> (f64, f64) {
    (x + y, round_error(x + y, ex + ey + left_over(x, y)))
}

/// What f64's x + y leaves over (Knuth's two-sum). Unless it is 0 the sum is no exact f32, though in f64
/// it may look like one.
pub fn left_over(x: f64, y: f64) -> f64 {
    let sum = x + y;
    let y_in = sum - x;
    ((x - (sum - y_in)) + (y - y_in)).abs()
}

/// 1/√v and its error, for v with error `e` that is at least `floor`: the ends of v's interval, and 2 ulp.
pub fn inverse_sqrt(v: f64, e: f64, floor: f64) -> (f64, f64) {
    let (exact, most, least) = (1.0 / v.sqrt(), 1.0 / (v - e).max(floor).sqrt(), 1.0 / (v + e).sqrt());
    (exact, (most - exact).max(exact - least) + 2.0 * EITHER_NEIGHBOUR * U32 * most)
}

/// A sum of products while it is being formed: Σ terms, Σ|terms|, and what the inputs' own errors add.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    /// Σ terms.
    pub value: f64,
    /// Σ|terms|.
    pub magnitude: f64,
    /// Σ of what errors in the inputs may add.
    pub inherited: f64,
    /// Finest power of two of which every term is a multiple; infinity while there is no term.
    grain: f64,
    count: u64,
}

impl Sum {
    /// The empty sum.
    pub const fn new() -> Self {
        Self { value: 0.0, magnitude: 0.0, inherited: 0.0, grain: f64::INFINITY, count: 0 }
    }

    /// Adds a term with its inherited error.
    pub fn add(&mut self, term: f64, inherited: f64) {
        self.value += term;
        self.magnitude += term.abs();
        self.inherited += inherited;
        self.count += 1;
        if term != 0.0 {
            self.grain = self.grain.min(grain(term));
        }
    }

    /// The sum, and its error when an f32 kernel forms it in any order.
    ///
    /// If every partial sum in every order is a multiple of one power of two and fits 24 bits, no
    /// rounding happens at all. Otherwise min(n, λ√n)·u·Σ|terms|, and a denormal's worth per term
    /// for flushing.
    pub fn finish(&self) -> (f64, f64) {
        (self.value, self.inherited + sum_error(self.count, self.magnitude, self.grain))
    }
}

/// The error of an f32 sum of `count` products, Σ|terms| = `magnitude`, each a multiple of `grain`.
pub fn sum_error(count: u64, magnitude: f64, grain: f64) -> f64 {
    if magnitude == 0.0 || magnitude <= grain * 16_777_216.0 && grain >= DType::F32.min_normal() {
        return 0.0;
    }
    let n = count as f64 + 1.0;
    n.min(LAMBDA * n.sqrt()) * U32 * magnitude + n * DType::F32.min_normal()
}

/// The value of the lowest bit set in a number's significand.
pub fn grain(v: f64) -> f64 {
    if v == 0.0 || !v.is_finite() {
        return f64::INFINITY;
    }
    let bits = v.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let mantissa = (bits & ((1 << 52) - 1)) | if exponent == 0 { 0 } else { 1 << 52 };
    let scale = exponent.max(1) - 1075 + mantissa.trailing_zeros() as i32;
    // By its bits: `powi` takes most of the time of a sum's allowance, and of denormals makes 0.
    f64::from_bits(if scale < -1022 { 1 << (scale + 1074) } else { ((scale + 1023) as u64) << 52 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grains_are_the_lowest_bits() {
        let least = f64::from_bits(1);
        for (v, want) in [
            (1.0, 1.0),
            (-12.0, 4.0),
            (0.75, 0.25),
            (1.0 + f64::EPSILON, f64::EPSILON),
            (f64::MAX, 2f64.powi(971)),
            (2f64.powi(1023), 2f64.powi(1023)),
            (f64::MIN_POSITIVE, f64::MIN_POSITIVE),
            (6.0 * least, 2.0 * least),
            (least, least),
            (0.0, f64::INFINITY),
        ] {
            assert_eq!(grain(v), want, "{v:e}");
        }
    }

    #[test]
    fn small_integers_sum_without_error_and_others_do_not() {
        let mut exact = Sum::new();
        let mut inexact = Sum::new();
        for i in 0..14336 {
            exact.add(f64::from(i % 7 - 3), 0.0);
            inexact.add(f64::from(i % 7 - 3) / 3.0, 0.0);
        }
        assert_eq!(exact.finish().1, 0.0);
        assert!(inexact.finish().1 > 0.0);
    }

    #[test]
    fn grain_is_the_lowest_bit() {
        assert_eq!(grain(12.0), 4.0);
        assert_eq!(grain(0.75), 0.25);
        assert_eq!(grain(-3.0), 1.0);
    }

    #[test]
    fn a_sum_that_f64_rounds_is_not_exact() {
        assert_eq!(sum_of((1.0, 0.0), (2.0, 0.0)), (3.0, 0.0));
        let (v, e) = sum_of((-1.0, 0.0), (-1e-30, 0.0));
        assert!(v == -1.0 && e > U32, "{e}");
    }

    #[test]
    fn an_exact_value_stores_exactly() {
        assert_eq!(store_error(1.5, 0.0, DType::F16), 0.0);
        assert!(store_error(1.0 / 3.0, 0.0, DType::F16) > 0.0);
    }
}

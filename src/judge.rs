//! Is this near enough? The only place that decides.
//!
//! Every element is judged by itself: NaN and infinity first, then the distance from the reference
//! against the error that the reference allows. Norms over the whole tensor are reported and never
//! used to pass. It runs nothing and reads no device.

use crate::dtype::DType;
use crate::numerics::Approx;

mod pattern;

/// An element that is not near enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bad {
    /// Its place in row-major order.
    pub index: usize,
    /// What the device says.
    pub got: f64,
    /// What the reference says.
    pub want: f64,
    /// How far apart the two may be.
    pub allowed: f64,
}

/// What the judge says of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// How many elements the reference has.
    pub elements: usize,
    /// How many are not near enough; all of them if the length is wrong.
    pub bad: usize,
    /// The largest distance, as a fraction of its allowance: above 1, or infinite where nothing is
    /// allowed, if an element is bad.
    pub worst: f64,
    /// The first element that is not near enough; `None` although some are bad if the length is wrong.
    pub first_bad: Option<Bad>,
    /// How the bad elements lie, in words; empty if there are none.
    pub pattern: String,
    /// Σ(got - want)² / Σwant² over the elements that are finite in both. Reported, never used to pass.
    pub nmse: f64,
}

impl Verdict {
    /// Whether every element is near enough.
    pub fn passed(&self) -> bool {
        self.bad == 0
    }
}

/// Values with an allowance of `atol + rtol·|value|` each: what those who made the values say is near
/// enough. Where a value is not finite nothing is allowed.
pub fn within(shape: &[usize], value: &[f64], rtol: f64, atol: f64) -> Approx {
    let allowed = |v: &f64| if v.is_finite() { atol + rtol * v.abs() } else { 0.0 };
    let error = value.iter().map(allowed).collect();
    Approx { error, ..Approx::exact(shape, value.to_vec()) }
}

/// Judges what a device stored as `dtype` against the reference, element by element.
pub fn judge(got: &[f64], want: &Approx, dtype: DType) -> Verdict {
    let elements = want.value.len();
    if got.len() != elements {
        return Verdict {
            elements,
            bad: elements.max(1),
            worst: f64::INFINITY,
            first_bad: None,
            pattern: format!("{} elements, but the reference has {elements}", got.len()),
            nmse: f64::INFINITY,
        };
    }
    let (mut worst, mut bad) = (0f64, Vec::new());
    let (mut noise, mut power) = (0.0, 0.0);
    for (index, &got) in got.iter().enumerate() {
        let (value, error) = want.at(index);
        let fraction = if want.admits(index, got) { 0.0 } else { fraction(got, value, error, dtype) };
        worst = worst.max(fraction);
        if fraction > 1.0 {
            bad.push(index);
        }
        if got.is_finite() && value.is_finite() {
            noise += (got - value) * (got - value);
            power += value * value;
        }
    }
    let first_bad = bad.first().map(|&index| {
        let (want, allowed) = want.at(index);
        Bad { index, got: got[index], want, allowed }
    });
    let nmse = if noise == 0.0 { 0.0 } else { noise / power };
    Verdict {
        elements,
        bad: bad.len(),
        worst,
        first_bad,
        pattern: pattern::describe(&want.shape, &bad),
        nmse,
    }
}

/// The distance between a device's element and the reference's as a fraction of the allowance.
///
/// At most 1 if the element is near enough; above 1, and never NaN, if it is not.
fn fraction(got: f64, value: f64, error: f64, dtype: DType) -> f64 {
    if value.is_nan() {
        return if got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    // An allowance that is not a finite number allows nothing: it would pass any result.
    let error = if error.is_finite() && error >= 0.0 { error } else { 0.0 };
    let max = dtype.max_finite();
    if got.is_infinite() {
        // WGSL lets an overflow give infinity or the largest finite number.
        let overflow = value * got.signum() + error > max;
        return if overflow { 0.0 } else { f64::INFINITY };
    }
    if got.abs() == max && value * got.signum() > max {
        return 0.0;
    }
    let distance = (got - value).abs();
    if distance == 0.0 {
        0.0
    } else if distance <= error {
        distance / error
    } else if error > 0.0 && distance.is_finite() {
        // `got` is bad even if the quotient rounds to 1.
        (distance / error).max(1.0 + f64::EPSILON)
    } else {
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests;

//! Making weights for inputs that are known: what the code of one element loses is made up for by the elements
//! that come after it in its row.
//!
//! With H = Σ x xᵀ over inputs x, the error of a row's products is eᵀ·H·e. Once an element has its code, the best
//! change of those to its right is its error times a row of the upper U with UᵀU = H⁻¹, divided by that row's
//! first element. This is GPTQ (Frantar, Ashkboos, Hoefler, Alistarh 2022, arXiv 2210.17323), in the order of
//! the columns. Scales of a block are those that the format's own quantiser takes for what the elements are
//! when it is reached, so that files have the same types as ever.

use super::packed::{Codes, Packed};
use super::{Pack, of};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Added to the diagonal of H, as a part of its mean, so that rare inputs count and H has an inverse: as GPTQ.
const DAMPING: f64 = 0.01;
/// Rows that are made side by side, so that they and a row of U stay in a cache.
const ROWS: usize = 16;

/// What a weight `[N, K]` is multiplied with, as far as making it needs to know.
#[derive(Debug, Clone)]
pub struct Feedback {
    width: usize,
    /// U, `[K, K]`.
    upper: Vec<f32>,
}

impl Feedback {
    /// From the second moments `Σ x xᵀ` of inputs of `width` elements, `[width, width]` in row-major order, of
    /// which the upper half is read. It takes width³ · 2/3 operations.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not `width`² numbers; [`Error::Argument`] if they are no moments: not finite,
    /// or such as no inputs have.
    pub fn new(width: usize, moments: &[f64]) -> Result<Self> {
        if width.checked_mul(width) != Some(moments.len()) {
            return Err(Error::Shape(format!(
                "feedback: moments of {width} inputs are {width} x {width} numbers, but {} were given",
                moments.len()
            )));
        }
        let mean = (0..width).map(|i| moments[i * width + i]).sum::<f64>() / width.max(1) as f64;
        // Without any input all elements count the same.
        let damping = if mean == 0.0 { 1.0 } else { DAMPING * mean };
        let mut h = moments.to_vec();
        (0..width).for_each(|i| h[i * width + i] += damping);
        let upper = inverse(&factor(h, width)?, width);
        Ok(Self { width, upper: upper.into_iter().map(|v| v as f32).collect() })
    }

    /// The weight `[N, K]` in blocks of a type. Types whose codes stand for no numbers by themselves (`tq1_0`), or
    /// whose scales are powers of two (`mxfp4`), are made as [`quantize`](super::quantize) makes them.
    ///
    /// # Errors
    /// As [`quantize`](super::quantize); [`Error::Shape`] unless the weight has two axes, K as the moments have
    /// it; [`Error::Argument`] if a value is not finite, or too large for a scale.
    pub fn quantize(&self, dtype: DType, w: &Tensor) -> Result<Tensor> {
        let plain = || super::quantize(dtype, w);
        let Some(format) = of(dtype) else { return plain() };
        let (Some(packed), Some(pack)) = (format.packed(), format.pack) else { return plain() };
        // Powers of two as scales cut off what is larger than their codes reach, which is too much for others
        // to make up for: a sentence encoder in mxfp4 came out at a cosine of 0.92 with feedback, 0.96 without.
        if packed.exponent.is_some() {
            return plain();
        }
        let values = self.values(dtype, w)?;
        if values.is_empty() || !self.width.is_multiple_of(dtype.block()) {
            return plain(); // which says so
        }
        let row_bytes = self.width / dtype.block() * dtype.block_bytes();
        let mut bytes = vec![0; w.shape()[0] * row_bytes];
        let rows = values.chunks(ROWS * self.width).zip(bytes.chunks_mut(ROWS * row_bytes));
        for (values, bytes) in rows {
            let mut made: Vec<_> = bytes
                .chunks_mut(row_bytes)
                .map(|row| Made { row, dtype, packed, pack, part: (0.0, 0.0) })
                .collect();
            self.make(values.to_vec(), |row, i, values| made[row].element(i, values));
        }
        if let Some(block) = super::first_not_finite(dtype, &bytes) {
            return Err(Error::Argument(format!("feedback: block {block} has values too large for {dtype}")));
        }
        Tensor::new(dtype, w.shape(), bytes)
    }

    /// The weight `[N, K]` in int8 with a scale for each row: as [`i8::quantize`](super::i8::quantize).
    ///
    /// # Errors
    /// As [`Feedback::quantize`].
    pub fn quantize_i8(&self, w: &Tensor) -> Result<(Tensor, Tensor)> {
        let values = self.values(DType::I8, w)?;
        let (_, scales) = super::i8::quantize(w)?;
        let scale = scales.to_f32();
        let mut q = vec![0u8; values.len()];
        for (n, values) in values.chunks(self.width.max(1)).enumerate() {
            let (scale, q) = (scale[n], &mut q[n * self.width..]);
            self.make(values.to_vec(), |_, i, row| {
                let code =
                    if scale > 0.0 { (row[i] / scale).round_ties_even().clamp(-127.0, 127.0) } else { 0.0 };
                q[i] = code as i8 as u8;
                code * scale
            });
        }
        Ok((Tensor::new(DType::I8, w.shape(), q)?, scales))
    }

    fn values(&self, dtype: DType, w: &Tensor) -> Result<Vec<f32>> {
        if w.shape().len() != 2 || w.shape()[1] != self.width {
            return Err(Error::Shape(format!(
                "feedback: a weight must be [N, {}], as the moments have K, but it is {:?}",
                self.width,
                w.shape()
            )));
        }
        let values = w.to_f32();
        match values.iter().find(|v| !v.is_finite()) {
            Some(v) => Err(Error::Argument(format!("feedback: a value is {v}, which no {dtype} can hold"))),
            None => Ok(values),
        }
    }

    /// Walks along rows, each element given the value that `pick(row, element, the row as it is now)` says.
    fn make(&self, mut rows: Vec<f32>, mut pick: impl FnMut(usize, usize, &[f32]) -> f32) {
        for i in 0..self.width {
            let (first, rest) =
                (self.upper[i * self.width + i], &self.upper[i * self.width + i + 1..(i + 1) * self.width]);
            for (r, row) in rows.chunks_exact_mut(self.width).enumerate() {
                let error = (row[i] - pick(r, i, row)) / first;
                for (v, u) in row[i + 1..].iter_mut().zip(rest) {
                    *v -= error * u;
                }
            }
        }
    }
}

/// A row of blocks as it is made.
struct Made<'a> {
    row: &'a mut [u8],
    dtype: DType,
    packed: &'a Packed,
    pack: Pack,
    /// Scale and least of the part that is being made.
    part: (f32, f32),
}

impl Made<'_> {
    /// Gives an element its code; what that stands for.
    fn element(&mut self, i: usize, values: &[f32]) -> f32 {
        let (size, at) = (self.dtype.block(), i % self.dtype.block());
        let block = &mut self.row[i / size * self.dtype.block_bytes()..][..self.dtype.block_bytes()];
        if at == 0 {
            (self.pack)(&values[i..i + size], block);
        }
        if at.is_multiple_of(self.packed.part) {
            let (scale, least) = (self.packed.scale)(block, at / self.packed.part);
            self.part = (scale as f32, least as f32);
        }
        let (scale, least) = self.part;
        if scale != 0.0 {
            self.packed.put(block, at, nearest(self.packed, (values[i] - least) / scale));
        }
        scale * self.packed.codes.number(self.packed.code(block, at)) as f32 + least
    }
}

/// The code whose number is nearest.
fn nearest(packed: &Packed, v: f32) -> u8 {
    let last = (1u32 << packed.planes.iter().map(|p| p.bits).sum::<usize>()) - 1;
    match packed.codes {
        Codes::Less(zero) => (v.round() + f32::from(zero)).clamp(0.0, last as f32) as u8,
        // -128 is left out, as the format's quantiser does: others negate codes.
        Codes::Signed => v.round().clamp(-127.0, 127.0) as i8 as u8,
        Codes::Table(table) => {
            let far = |code: &u8| (f32::from(table[usize::from(*code)]) - v).abs();
            (0..16u8).min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or(0)
        }
    }
}

/// The upper R with R·Rᵀ = H, in the place of H: Cholesky's factorisation from the last row up.
fn factor(mut h: Vec<f64>, n: usize) -> Result<Vec<f64>> {
    for j in (0..n).rev() {
        let (above, below) = h.split_at_mut(j * n);
        let row_j = &mut below[..n];
        let square = row_j[j] - row_j[j + 1..].iter().map(|r| r * r).sum::<f64>();
        if !(square.is_finite() && square > 0.0) {
            return Err(Error::Argument(format!("feedback: input {j} has moments that no inputs have")));
        }
        row_j[j] = square.sqrt();
        for row_i in above.chunks_exact_mut(n) {
            let known = dot(&row_i[j + 1..], &row_j[j + 1..]);
            row_i[j] = (row_i[j] - known) / row_j[j];
        }
    }
    Ok(h)
}

/// Sums that do not wait for one another.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0f64; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// The inverse of an upper matrix; what is below its diagonal counts as 0.
fn inverse(r: &[f64], n: usize) -> Vec<f64> {
    let mut u = vec![0.0; n * n];
    for i in (0..n).rev() {
        // Row i of R·U = 1: R[i,i]·U[i,..] = 1 - Σ_k R[i,k]·U[k,..].
        let (above, below) = u.split_at_mut((i + 1) * n);
        let row = &mut above[i * n..];
        row[i] = 1.0;
        for (k, below) in (i + 1..n).zip(below.chunks_exact(n)) {
            let factor = r[i * n + k];
            for (to, from) in row[k..].iter_mut().zip(&below[k..]) {
                *to -= factor * from;
            }
        }
        row[i..].iter_mut().for_each(|v| *v /= r[i * n + i]);
    }
    u
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats;
    use crate::rng::Rng;

    const K: usize = 256;

    /// Inputs whose elements have much in common with one another, as those of real layers do.
    fn inputs(seed: u64) -> Vec<Vec<f64>> {
        let mut rng = Rng::new(seed);
        let mixes: Vec<Vec<f64>> = (0..12).map(|_| (0..K).map(|_| rng.signed()).collect()).collect();
        let input = |_| {
            let mut x: Vec<f64> = (0..K).map(|_| 0.2 * rng.signed()).collect();
            for mix in &mixes {
                let much = rng.signed();
                x.iter_mut().zip(mix).for_each(|(x, m)| *x += much * m);
            }
            x
        };
        (0..600).map(input).collect()
    }

    fn moments(inputs: &[Vec<f64>]) -> Vec<f64> {
        let mut h = vec![0.0; K * K];
        for x in inputs {
            for (i, row) in h.chunks_exact_mut(K).enumerate() {
                row.iter_mut().zip(x).for_each(|(h, v)| *h += x[i] * v);
            }
        }
        h
    }

    /// The mean square of what products lose.
    fn loss(inputs: &[Vec<f64>], w: &Tensor, made: &[f64]) -> f64 {
        let w = w.to_f64();
        let errors: Vec<f64> = w.iter().zip(made).map(|(a, b)| a - b).collect();
        let of = |x: &Vec<f64>| -> f64 {
            errors.chunks_exact(K).map(|e| e.iter().zip(x).map(|(e, x)| e * x).sum::<f64>().powi(2)).sum()
        };
        inputs.iter().map(of).sum()
    }

    fn weight(rows: usize) -> Tensor {
        let mut rng = Rng::new(5);
        let values: Vec<f64> = (0..rows * K).map(|_| rng.signed() * rng.signed()).collect();
        Tensor::from_f64(DType::F32, &[rows, K], &values).unwrap()
    }

    #[test]
    fn products_with_such_inputs_lose_a_quarter_of_what_they_lost() {
        let (mut all, w) = (inputs(1), weight(20));
        let seen: Vec<_> = all.drain(..400).collect();
        let feedback = Feedback::new(K, &moments(&seen)).unwrap();
        let by_numbers = |f: &&formats::Format| f.packed().is_some_and(|p| p.exponent.is_none());
        for format in formats::FORMATS.iter().filter(|f| f.can_quantize()).filter(by_numbers) {
            let plain = loss(&all, &w, &formats::quantize(format.dtype, &w).unwrap().to_f64());
            let made = feedback.quantize(format.dtype, &w).unwrap();
            let with = loss(&all, &w, &made.to_f64());
            // Inputs of 12 mixes, and others that they were not made for.
            assert!(with < 0.25 * plain, "{}: {with} of {plain}", format.dtype);
        }
        let (q, scales) = formats::i8::quantize(&w).unwrap();
        let values = |q: &Tensor, s: &Tensor| -> Vec<f64> {
            let (q, s) = (q.to_f64(), s.to_f64());
            q.iter().enumerate().map(|(i, q)| q * s[i / K]).collect()
        };
        let plain = loss(&all, &w, &values(&q, &scales));
        let (q, scales) = feedback.quantize_i8(&w).unwrap();
        assert!(loss(&all, &w, &values(&q, &scales)) < 0.25 * plain);
    }

    #[test]
    fn u_is_the_root_of_the_inverse() {
        let h = moments(&inputs(2));
        let damping = DAMPING * (0..K).map(|i| h[i * K + i]).sum::<f64>() / K as f64;
        let u: Vec<f64> = Feedback::new(K, &h).unwrap().upper.iter().map(|v| f64::from(*v)).collect();
        // H·Uᵀ·U = 1, of which one column says enough.
        for column in [0, 7, K - 1] {
            let product: Vec<f64> =
                (0..K).map(|j| (0..=j.min(column)).map(|i| u[i * K + j] * u[i * K + column]).sum()).collect();
            for i in 0..K {
                let damped = damping * product[i];
                let one = dot(&h[i * K..(i + 1) * K], &product) + damped;
                assert!((one - f64::from(u8::from(i == column))).abs() < 1e-3, "{column} {i}: {one}");
            }
        }
    }

    #[test]
    fn what_is_no_such_weight_is_refused() {
        let said = |e: Error| e.to_string();
        let e = said(Feedback::new(3, &[1.0; 8]).unwrap_err());
        assert_eq!(e, "feedback: moments of 3 inputs are 3 x 3 numbers, but 8 were given");
        let e = said(Feedback::new(2, &[1.0, f64::NAN, f64::NAN, 1.0]).unwrap_err());
        assert_eq!(e, "feedback: input 0 has moments that no inputs have");
        assert!(Feedback::new(2, &[1.0, 9.0, 9.0, 1.0]).is_err());
        let zeros = Feedback::new(64, &[0.0; 64 * 64]).unwrap();
        let w = Tensor::from_f32(&[2, 32], &[0.5; 64]).unwrap();
        let e = said(zeros.quantize(DType::Q8_0, &w).unwrap_err());
        assert_eq!(e, "feedback: a weight must be [N, 64], as the moments have K, but it is [2, 32]");
        let w = Tensor::from_f32(&[1, 64], &[f32::INFINITY; 64]).unwrap();
        assert!(zeros.quantize(DType::Q8_0, &w).is_err());
        let w = Tensor::from_f32(&[1, 64], &[1e8; 64]).unwrap();
        let e = said(zeros.quantize(DType::Q8_0, &w).unwrap_err());
        assert_eq!(e, "feedback: block 0 has values too large for q8_0");
        let (nothing, none) = (Feedback::new(0, &[]).unwrap(), Tensor::from_f32(&[2, 0], &[]).unwrap());
        assert_eq!(nothing.quantize(DType::Q8_0, &none).unwrap().shape(), [2, 0]);
        assert_eq!(nothing.quantize_i8(&none).unwrap().0.shape(), [2, 0]);
        let w = Tensor::from_f32(&[1, 64], &[0.5; 64]).unwrap();
        assert!(zeros.quantize(DType::Q4K, &w).is_err() && zeros.quantize(DType::Iq2S, &w).is_err());
        // Nothing is known of the inputs, so nothing is made up for.
        let same = formats::quantize(DType::Q4_0, &w).unwrap();
        assert_eq!(zeros.quantize(DType::Q4_0, &w).unwrap().to_f64(), same.to_f64());
    }
}

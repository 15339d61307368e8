//! The frequencies of rotary embeddings, and how models stretch them to longer texts: once per graph, in f64.

use std::f64::consts::TAU;

use super::{Pairing, WORDS};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::tensor::Tensor;

/// A rotary embedding (Su et al. 2021): which elements are pairs, and how fast each pair turns.
///
/// ```
/// # use tachylite::ops::rope::Rope;
/// // Llama 3.1: base 500,000, stretched by 8 from 8,192 positions.
/// let rope = Rope::new(128, 500_000.0).llama3(8.0, (1.0, 4.0), 8192.0);
/// assert_eq!(rope.tensor().unwrap().shape(), [64, 3]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Which elements of a head are a pair.
    pub pairing: Pairing,
    /// What rotated elements are multiplied by: 1 but for YaRN.
    pub scale: f32,
    base: f64,
    /// Radians from one position to the next, for each pair.
    frequencies: Vec<f64>,
    /// The row of positions that each pair follows.
    rows: Vec<u32>,
}

impl Rope {
    /// For the first `width` elements of a head, in halves: pair k turns by base^(-2k/width) radians from one
    /// position to the next.
    pub fn new(width: usize, base: f64) -> Self {
        let frequency = |k: usize| base.powf(-((2 * k) as f64) / width as f64);
        let frequencies: Vec<f64> = (0..width / 2).map(frequency).collect();
        Self { pairing: Pairing::Halves, scale: 1.0, base, rows: vec![0; frequencies.len()], frequencies }
    }

    /// With a base that is larger by factor^(width/(width - 2)), so that the slowest pair turns slower by
    /// `factor` and the fastest as before (NTK-aware scaling).
    pub fn ntk(width: usize, base: f64, factor: f64) -> Self {
        let width_ = width as f64;
        Self::new(width, base * factor.powf(width_ / (width_ - 2.0)))
    }

    /// The same with neighbours as pairs.
    #[must_use]
    pub fn neighbours(self) -> Self {
        Self { pairing: Pairing::Neighbours, ..self }
    }

    /// Slower by a factor (position interpolation, Chen et al. 2023).
    #[must_use]
    pub fn linear(self, factor: f64) -> Self {
        self.each(|_, f| f / factor)
    }

    /// Each pair slower by a factor of its own: the tensor `rope_freqs.weight` of GGUF files, and the lists of
    /// LongRoPE. Pairs without one stay.
    #[must_use]
    pub fn divided(self, factors: &[f64]) -> Self {
        self.each(|k, f| f / factors.get(k).copied().unwrap_or(1.0))
    }

    /// As Llama 3.1 has it: pairs that turn fewer than `turns.0` times in `original` positions are slower by
    /// `factor`, those that turn more than `turns.1` times are as they were, and in between it is
    /// interpolated.
    #[must_use]
    pub fn llama3(self, factor: f64, turns: (f64, f64), original: f64) -> Self {
        self.each(|_, f| {
            let smooth = ((original * f / TAU - turns.0) / (turns.1 - turns.0)).clamp(0.0, 1.0);
            (1.0 - smooth) * f / factor + smooth * f
        })
    }

    /// YaRN (Peng et al. 2023): pairs that turn more than `turns.0` times (usually 32) in `original` positions are
    /// as they were, those that turn fewer than `turns.1` times (usually 1) are slower by `factor`, with a ramp
    /// over the pairs in between, from whole pair to whole pair; and `scale` becomes 0.1·ln(factor) + 1.
    #[must_use]
    pub fn yarn(self, factor: f64, turns: (f64, f64), original: f64) -> Self {
        let width = 2.0 * self.frequencies.len() as f64;
        let pair = |turns: f64| width * (original / (turns * TAU)).ln() / (2.0 * self.base.ln());
        let from = pair(turns.0).floor().max(0.0);
        let to = pair(turns.1).ceil().min(width - 1.0);
        let span = if from == to { 0.001 } else { to - from };
        let scale = (0.1 * factor.max(1.0).ln() + 1.0) as f32;
        let stretched = self.each(|k, f| {
            let ramp = ((k as f64 - from) / span).clamp(0.0, 1.0);
            f / factor * ramp + f * (1.0 - ramp)
        });
        Self { scale, ..stretched }
    }

    /// M-RoPE as Qwen2-VL has it: the first `sections[0]` pairs follow the first row of positions (time), the next
    /// `sections[1]` the second (height), and so on; pairs behind them follow the last.
    #[must_use]
    pub fn sections(mut self, sections: &[usize]) -> Self {
        let rows = (0..).zip(sections).flat_map(|(row, n)| std::iter::repeat_n(row, *n));
        let last = sections.len().saturating_sub(1) as u32;
        let rows = rows.chain(std::iter::repeat(last)).take(self.frequencies.len());
        self.rows = rows.collect();
        self
    }

    /// M-RoPE as Qwen3-VL has it: rows take turns, so that of each three pairs the second follows the second row
    /// and the third the third, as long as these have pairs left of their sections; all others follow the first.
    #[must_use]
    pub fn interleaved_sections(mut self, sections: [usize; 3]) -> Self {
        let row = |k: usize| if k < 3 * sections[k % 3] { (k % 3) as u32 } else { 0 };
        self.rows = (0..self.frequencies.len()).map(row).collect();
        self
    }

    /// Radians from one position to the next, for each pair.
    pub fn frequencies(&self) -> &[f64] {
        &self.frequencies
    }

    fn each(mut self, f: impl Fn(usize, f64) -> f64) -> Self {
        self.frequencies.iter_mut().enumerate().for_each(|(k, v)| *v = f(k, *v));
        self
    }

    /// The weight of [`weight`](Self::weight), u32 `[K, 3]`: of each of K pairs the part of a turn from one
    /// position to the next, rounded to 2⁻⁶⁴ of a turn (the lower word, the upper word), and the row of positions
    /// it follows.
    ///
    /// # Errors
    /// [`Error::Argument`] if a frequency is negative or not finite.
    pub fn tensor(&self) -> Result<Tensor> {
        let mut words = Vec::with_capacity(self.frequencies.len() * WORDS);
        for (f, row) in self.frequencies.iter().zip(&self.rows) {
            if !(0.0..1e9).contains(f) {
                return Err(Error::Argument(format!(
                    "rope: a pair turns by {f} radians from position to position, but it must be from 0 to 1e9"
                )));
            }
            // A turn that is nearly whole may round to a whole one, which is none.
            let turns = ((f / TAU).fract() * 2f64.powi(64)) as u128 as u64;
            words.extend([turns as u32, (turns >> 32) as u32, *row]);
        }
        Tensor::from_u32(&[self.frequencies.len(), WORDS], &words)
    }

    /// Adds the weight that [`Graph::rope`] takes, under a name: give a plan [`tensor`](Self::tensor) for it.
    ///
    /// # Errors
    /// [`Error::Argument`] if the name is taken.
    pub fn weight(&self, g: &mut Graph, name: &str) -> Result<ValueId> {
        g.weight(name, DType::U32, &[self.frequencies.len(), WORDS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_rounded_to_the_last_of_64_bits() {
        let words = Rope::new(4, 100.0).tensor().unwrap().to_u32().unwrap();
        // 1/2π and 0.1/2π turns, to 53 bits.
        let turns = |i: usize| f64::from(words[i + 1]) / 2f64.powi(32) + f64::from(words[i]) / 2f64.powi(64);
        assert!((turns(0) * TAU - 1.0).abs() < 1e-15 && (turns(3) * TAU - 0.1).abs() < 1e-16);
        assert!(Rope::new(4, 100.0).linear(f64::NAN).tensor().is_err());
    }

    #[test]
    fn sections_say_which_row_a_pair_follows() {
        let rows = |rope: Rope| rope.rows;
        assert_eq!(rows(Rope::new(16, 1e4).sections(&[2, 3, 1])), [0, 0, 1, 1, 1, 2, 2, 2]);
        assert_eq!(rows(Rope::new(16, 1e4).interleaved_sections([4, 2, 1])), [0, 1, 2, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn stretching_spares_the_fastest_and_slows_the_slowest() {
        let plain = Rope::new(128, 1e4);
        let last = |rope: &Rope| plain.frequencies[63] / rope.frequencies[63];
        for rope in [
            Rope::new(128, 1e4).llama3(8.0, (1.0, 4.0), 8192.0),
            Rope::new(128, 1e4).yarn(8.0, (32.0, 1.0), 4096.0),
            Rope::ntk(128, 1e4, 8.0),
        ] {
            assert_eq!(rope.frequencies[0], 1.0);
            assert!((last(&rope) - 8.0).abs() < 1e-9, "{}", last(&rope));
        }
        assert_eq!(Rope::new(128, 1e4).linear(8.0).frequencies[0], 0.125);
    }
}

//! Whether results differ by more than rounding explains.
//!
//! What rounding explains is measured: the shader is run several times with nothing changed but roundings
//! and the errors of inexact built-ins, drawn anew each time or all to one side (Monte Carlo arithmetic,
//! Parker 1997). How far results of these runs lie apart is what rounding does to an element; anything
//! else, as another size of subgroups or another order of workgroups, may move it a few times as far.
//! Whole numbers may not move at all, but where the shader packed floats into them.

use half::f16;

use super::layout::Variable;
use super::words::Words;
use crate::virtual_gpu::program::Ty;
use crate::virtual_gpu::{Fma, Inexact, Neighbour, Personality, Rounding, Sums};

/// How many times as far as roundings moved it a result may lie.
const FACTOR: f64 = 8.0;
/// How many units in the last place it may lie away in any case: an error may have cancelled by chance.
const UNITS: f64 = 4.0;

/// The plain personality, and it again with other roundings.
pub(super) fn roundings(seed: u64) -> Vec<Personality> {
    let plain = Personality::plain();
    let to = |inexact, f16, name: &str| Personality {
        inexact,
        f16,
        name: format!("plain, rounding {name}"),
        ..plain.clone()
    };
    let any = (0..5).map(|i| Personality {
        arithmetic: Neighbour::Either,
        sums: Sums::ALL[i % Sums::ALL.len()],
        fma: Fma::ALL[i % Fma::ALL.len()],
        seed: seed.wrapping_add(1000 + i as u64),
        ..to(Inexact::Any, Rounding::ALL[i % Rounding::ALL.len()], &format!("either way ({i})"))
    });
    let sides = [to(Inexact::High, Rounding::Up, "up"), to(Inexact::Low, Rounding::Down, "down")];
    std::iter::once(plain.clone()).chain(sides).chain(any).collect()
}

/// What rounding does to a variable.
#[derive(Debug)]
pub(super) struct Spread<'a> {
    variable: &'a Variable,
    scalars: Vec<(u32, Ty)>,
    /// For each part of each scalar the least and the greatest that rounding makes of it.
    parts: Vec<Part>,
    /// How far rounding moves a part, relative to its size: the median.
    typical: f64,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    low: f64,
    high: f64,
}

/// A number that lies where it may not.
#[derive(Debug, PartialEq)]
pub(super) struct Difference {
    /// Bytes from the variable's start.
    pub offset: u32,
    /// The element's number, if the variable has more than one.
    pub index: Option<i64>,
    /// What it is here, and what it is otherwise.
    pub detail: String,
}

impl<'a> Spread<'a> {
    /// From the variable's bytes after each run of [`roundings`], in that order; `len` elements.
    pub fn new(variable: &'a Variable, len: u32, runs: &[&[u8]]) -> Self {
        let scalars: Vec<_> = variable.all(len).collect();
        let mut parts: Vec<Part> = Vec::new();
        for (run, bytes) in runs.iter().enumerate() {
            let values = scalars.iter().flat_map(|s| numbers(variable, *s, bytes));
            for (i, value) in values.enumerate() {
                match parts.get_mut(i).filter(|_| run > 0) {
                    Some(part) => {
                        // NaN must stay, so that the part is left alone.
                        let apart = value.is_nan() || part.low.is_nan();
                        part.low = if apart { f64::NAN } else { part.low.min(value) };
                        part.high = if apart { f64::NAN } else { part.high.max(value) };
                    }
                    None => parts.push(Part { low: value, high: value }),
                }
            }
        }
        let mut relative: Vec<f64> = parts
            .iter()
            .filter(|p| p.low.is_finite() && p.high.is_finite() && (p.low != 0.0 || p.high != 0.0))
            .map(|p| (p.high - p.low) / p.low.abs().max(p.high.abs()))
            .collect();
        relative.sort_by(f64::total_cmp);
        let typical = relative.get(relative.len() / 2).copied().unwrap_or(0.0);
        Self { variable, scalars, parts, typical }
    }

    /// The first number of another run that lies where rounding does not bring it.
    pub fn first_difference(&self, bytes: &[u8]) -> Option<Difference> {
        let mut parts = self.parts.iter();
        for (offset, ty) in &self.scalars {
            let exact = grain(self.variable, *ty).is_none();
            for (here, part) in numbers(self.variable, (*offset, *ty), bytes).zip(parts.by_ref()) {
                let allowed = match grain(self.variable, *ty) {
                    _ if !part.low.is_finite() || !part.high.is_finite() => continue,
                    None => 0.0,
                    Some(grain) => {
                        let size = part.low.abs().max(part.high.abs());
                        // What no rounding moved is exact, whatever its neighbours are.
                        let typical = if part.low == part.high { 0.0 } else { self.typical * size };
                        let moved = (part.high - part.low).max(typical);
                        FACTOR * moved + UNITS * grain.unit * size + grain.least
                    }
                };
                let moved = exact && part.low != part.high;
                if moved || !(here >= part.low - allowed && here <= part.high + allowed) {
                    let index = self.variable.index(*offset);
                    return Some(Difference { offset: *offset, index, detail: told(*part, here, exact) });
                }
            }
        }
        None
    }
}

/// A difference in words: between whole numbers, or between floats, which have no more digits than an f32.
fn told(Part { low, high }: Part, here: f64, whole: bool) -> String {
    let show = |x: f64| if whole { x.to_string() } else { (x as f32).to_string() };
    match (show(low), show(high), show(here)) {
        (low, high, _) if whole && low != high => format!("roundings decide between {low} and {high}"),
        (low, high, here) if low == high => format!("it is {here} and not {low}"),
        (low, high, here) => format!("it is {here}, and rounding leaves it between {low} and {high}"),
    }
}

/// How fine numbers of a kind are.
struct Grain {
    /// One unit in the last place, relative.
    unit: f64,
    /// What may be taken for zero; for small whole numbers, one of them.
    least: f64,
}

/// The grain of a scalar's parts; `None` for whole numbers that must be equal.
fn grain(variable: &Variable, ty: Ty) -> Option<Grain> {
    let single = Grain { unit: f64::from(f32::EPSILON), least: f64::from(f32::MIN_POSITIVE) };
    let half = Grain { unit: f64::from(f16::EPSILON), least: f64::from(f16::MIN_POSITIVE) };
    match (ty, variable.words) {
        (Ty::F32, _) | (_, Some(Words::Float)) => Some(single),
        (Ty::F16, _) | (_, Some(Words::Halves)) => Some(half),
        (_, Some(Words::Shorts | Words::Bytes)) => Some(Grain { unit: 0.0, least: 1.0 }),
        _ => None,
    }
}

/// A scalar as numbers: one, or as many as its word is made of.
fn numbers(variable: &Variable, (offset, ty): (u32, Ty), bytes: &[u8]) -> impl Iterator<Item = f64> {
    let at = offset as usize;
    let byte = |i: usize| bytes.get(at + i).copied().unwrap_or(0);
    let half = |i: usize| f64::from(f16::from_le_bytes([byte(2 * i), byte(2 * i + 1)]));
    let word = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
    let single = || f64::from(f32::from_bits(word));
    let (numbers, count) = match (ty, variable.words) {
        (Ty::F32, _) | (_, Some(Words::Float)) => ([single(), 0.0, 0.0, 0.0], 1),
        (Ty::F16, _) => ([half(0), 0.0, 0.0, 0.0], 1),
        (_, Some(Words::Halves)) => ([half(0), half(1), 0.0, 0.0], 2),
        (_, Some(Words::Shorts)) => ([f64::from(word & 0xffff), f64::from(word >> 16), 0.0, 0.0], 2),
        (_, Some(Words::Bytes)) => ([0, 1, 2, 3].map(|i| f64::from(byte(i))), 4),
        (Ty::I32, None) => ([f64::from(word.cast_signed()), 0.0, 0.0, 0.0], 1),
        _ => ([f64::from(word), 0.0, 0.0, 0.0], 1),
    };
    numbers.into_iter().take(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_gpu::lint::layout::Runtime;
    use crate::virtual_gpu::program::Place;

    fn variable(ty: Ty, words: Option<Words>) -> Variable {
        let runtime = Some(Runtime { start: 0, stride: 4, scalars: vec![(0, ty)] });
        let (name, place) = ("y".into(), Place::default());
        Variable { name, place, scalars: Vec::new(), bytes: 0, runtime, words }
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn floats_may_move_as_far_as_rounding_moves_them_and_no_further() {
        let y = variable(Ty::F32, None);
        let runs = [bytes(&[1.0, 2.0, 0.0]), bytes(&[1.001, 2.002, 0.0]), bytes(&[1.0, 2.0, 0.0])];
        let runs: Vec<&[u8]> = runs.iter().map(Vec::as_slice).collect();
        let spread = Spread::new(&y, 3, &runs);
        assert_eq!(spread.first_difference(&bytes(&[0.995, 2.01, 0.0])), None);
        let far = spread.first_difference(&bytes(&[1.0, 2.1, 0.0])).unwrap();
        assert_eq!((far.offset, far.index), (4, Some(1)));
        let far = spread.first_difference(&bytes(&[1.0, 2.0, 1e-3])).unwrap();
        assert_eq!((far.index, far.detail.as_str()), (Some(2), "it is 0.001 and not 0"));
        assert!(spread.first_difference(&bytes(&[f32::NAN, 2.0, 0.0])).is_some());
    }

    #[test]
    fn whole_numbers_may_not_move_unless_they_are_packed_floats() {
        let word = |v: u32| v.to_le_bytes().to_vec();
        let whole = variable(Ty::U32, None);
        let one = word(0x3c00_3c00);
        assert_eq!(Spread::new(&whole, 1, &[&one, &one]).first_difference(&one), None);
        let next = word(0x3c00_3c01);
        assert!(Spread::new(&whole, 1, &[&one, &one]).first_difference(&next).is_some());
        // Rounding alone moves it, so it is different whatever the other run makes of it.
        assert!(Spread::new(&whole, 1, &[&one, &next]).first_difference(&one).is_some());
        let halves = variable(Ty::U32, Some(Words::Halves));
        assert_eq!(Spread::new(&halves, 1, &[&one, &one]).first_difference(&next), None);
        assert!(Spread::new(&halves, 1, &[&one, &one]).first_difference(&word(0x3c00_3d00)).is_some());
    }
}

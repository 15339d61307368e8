//! f16 as 16 bits, and as the f32 of the same value.

use super::super::Rounding;
use super::lanes::flush;

/// The f32 of the same value; exact.
#[inline(always)]
pub(super) fn widen(bits: u32) -> u32 {
    // Shifted by 13, the digits are where f32 has them, and the exponent is 112 too small.
    let magnitude = (bits & 0x7fff) << 13;
    let scaled = (f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)).to_bits();
    let special = magnitude | 0x7f80_0000;
    (if magnitude >= 0x0f80_0000 { special } else { scaled }) | ((bits & 0x8000) << 16)
}

/// The f16 next to an f32, by the rounding. `LEAST`, as in [`flush`], is about the result.
#[inline(always)]
pub(super) fn narrow<const LEAST: u32>(word: u32, rounding: Rounding) -> u32 {
    let sign = word & 0x8000_0000;
    let magnitude = word & 0x7fff_ffff;
    // Below the least normal f16, its digits are those of a whole number of 2^-24.
    let units = f32::from_bits(magnitude) * 16_777_216.0;
    let normal = magnitude >= 0x3880_0000;
    let small = if normal { 0 } else { units as i32 as u32 };
    let down = if normal { (magnitude >> 13).wrapping_sub(112 << 10) } else { small };
    let left = if normal { (magnitude & 0x1fff) as f32 / 8192.0 } else { units - small as f32 };
    let up = match rounding {
        Rounding::Nearest => (left > 0.5) | ((left == 0.5) & (down & 1 == 1)),
        Rounding::Up => (left > 0.0) & (sign == 0),
        Rounding::Down => (left > 0.0) & (sign != 0),
    };
    let finite = down + u32::from(up);
    let beyond = if magnitude > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    let bits = if magnitude >= 0x4780_0000 { beyond } else { finite };
    let bits = if LEAST != 0 && bits < 0x400 { 0 } else { bits };
    bits | (sign >> 16)
}

/// [`narrow`] and [`widen`]: an f32 as the f16 next to it, in a register.
#[inline(always)]
pub(super) fn quantize<const LEAST: u32>(word: u32, rounding: Rounding) -> u32 {
    widen(narrow::<LEAST>(flush::<LEAST>(word), rounding))
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::super::Format;
    use super::*;

    #[test]
    fn every_f16_comes_back() {
        for bits in 0..=u32::from(u16::MAX) {
            let value = f16::from_bits(bits as u16);
            let word = widen(bits);
            if value.is_nan() {
                assert!(f32::from_bits(word).is_nan());
                assert!(f16::from_bits(narrow::<0>(word, Rounding::Nearest) as u16).is_nan());
                continue;
            }
            assert_eq!(word, value.to_f32().to_bits(), "{bits:#x}");
            for rounding in Rounding::ALL {
                assert_eq!(narrow::<0>(word, *rounding), bits);
            }
        }
    }

    #[test]
    fn narrowing_is_rounding() {
        let mut rng = crate::rng::Rng::new(2);
        for i in 0..400_000u32 {
            let random = rng.next_u64() as u32;
            // Around what f16 can hold, and close to what it has.
            let word = (random & 0x8000_0fff) | ((0x3200_0000 + rng.below(0x1600_0000) as u32) & !0xfff);
            let word = if i % 4 == 0 { word & !0xfff } else { word };
            for rounding in Rounding::ALL {
                let exact = Format::F16.round(f64::from(f32::from_bits(word)), *rounding);
                let got = f32::from_bits(widen(narrow::<0>(word, *rounding)));
                assert_eq!(got.to_bits(), exact.to_bits(), "{word:#x} {rounding:?}");
            }
        }
    }
}

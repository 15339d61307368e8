//! Packing, unpacking, and what is about the bytes of a word.

use super::super::Rounding;
use super::super::program::{Pack, Ty};
use super::inexact::Bound;
use super::lanes::{floor, flush, words2};
use super::{Format, Numbers, exact, half, int};

/// How many rows a packing built-in gives.
pub(in crate::virtual_gpu) const fn results(op: Pack) -> usize {
    match op {
        Pack::Unpack2x16Float | Pack::Unpack2x16Snorm | Pack::Unpack2x16Unorm => 2,
        Pack::Unpack4x8Snorm | Pack::Unpack4x8Unorm | Pack::Unpack4xI8 | Pack::Unpack4xU8 => 4,
        _ => 1,
    }
}

/// The byte `i` of a word.
fn byte(word: u32, i: usize) -> u32 {
    (word >> (8 * i)) & 0xff
}

/// The same byte as an `i8`.
fn signed_byte(word: u32, i: usize) -> i32 {
    i32::from(byte(word, i) as u8 as i8)
}

impl Numbers {
    /// A packing built-in: `args` are rows, `dst` the rows of all results, one after the other. `ty` is the
    /// type of `insertBits`, which is the same for either.
    pub fn pack(&self, op: Pack, _ty: Ty, args: &[&[u32]], dst: &mut [u32]) {
        let lanes = dst.len() / results(op);
        match op {
            Pack::Pack2x16Float => self.pack_halves(args, dst),
            Pack::Unpack2x16Float => {
                let (low, high) = dst.split_at_mut(lanes);
                self.unpack_halves(args[0], low, high);
            }
            Pack::Pack2x16Snorm => self.pack_norm(args, dst, 16, -1.0, 32767.0),
            Pack::Pack2x16Unorm => self.pack_norm(args, dst, 16, 0.0, 65535.0),
            Pack::Pack4x8Snorm => self.pack_norm(args, dst, 8, -1.0, 127.0),
            Pack::Pack4x8Unorm => self.pack_norm(args, dst, 8, 0.0, 255.0),
            Pack::Unpack2x16Snorm => self.unpack_norm(args[0], dst, lanes, 16, true),
            Pack::Unpack2x16Unorm => self.unpack_norm(args[0], dst, lanes, 16, false),
            Pack::Unpack4x8Snorm => self.unpack_norm(args[0], dst, lanes, 8, true),
            Pack::Unpack4x8Unorm => self.unpack_norm(args[0], dst, lanes, 8, false),
            Pack::Pack4xI8 | Pack::Pack4xU8 => pack_bytes(args, dst, |x| x & 0xff),
            Pack::Pack4xI8Clamp => pack_bytes(args, dst, |x| (x as i32).clamp(-128, 127) as u32 & 0xff),
            Pack::Pack4xU8Clamp => pack_bytes(args, dst, |x| x.min(255)),
            Pack::Unpack4xI8 => unpack(args[0], dst, lanes, |word, i| signed_byte(word, i) as u32),
            Pack::Unpack4xU8 => unpack(args[0], dst, lanes, byte),
            Pack::Dot4I8Packed => words2(args[0], args[1], dst, |a, b| {
                (0..4).map(|i| signed_byte(a, i) * signed_byte(b, i)).sum::<i32>() as u32
            }),
            Pack::Dot4U8Packed => {
                words2(args[0], args[1], dst, |a, b| (0..4).map(|i| byte(a, i) * byte(b, i)).sum())
            }
            Pack::InsertBits => {
                for (i, d) in dst.iter_mut().enumerate() {
                    *d = int::insert(args[0][i], args[1][i], args[2][i], args[3][i]);
                }
            }
        }
    }

    fn pack_halves(&self, args: &[&[u32]], dst: &mut [u32]) {
        match (self.f16, self.flush) {
            (Rounding::Nearest, false) => pack_halves::<0>(args, dst, Rounding::Nearest),
            (Rounding::Nearest, true) => pack_halves::<0x0080_0000>(args, dst, Rounding::Nearest),
            (Rounding::Up, false) => pack_halves::<0>(args, dst, Rounding::Up),
            (Rounding::Up, true) => pack_halves::<0x0080_0000>(args, dst, Rounding::Up),
            (Rounding::Down, false) => pack_halves::<0>(args, dst, Rounding::Down),
            (Rounding::Down, true) => pack_halves::<0x0080_0000>(args, dst, Rounding::Down),
        }
    }

    fn unpack_halves(&self, words: &[u32], low: &mut [u32], high: &mut [u32]) {
        for ((word, low), high) in words.iter().zip(low.iter_mut()).zip(high.iter_mut()) {
            *low = half::widen(word & 0xffff);
            *high = half::widen(word >> 16);
        }
        if self.flush {
            for word in low.iter_mut().chain(high) {
                *word = flush::<0x3880_0000>(*word);
            }
        }
    }

    /// `floor(0.5 + scale * clamp(x, least, 1))`, each step correctly rounded.
    fn pack_norm(&self, args: &[&[u32]], dst: &mut [u32], bits: u32, least: f32, scale: f32) {
        let mask = u32::MAX >> (32 - bits);
        dst.fill(0);
        for (part, row) in args.iter().enumerate() {
            for (d, x) in dst.iter_mut().zip(*row) {
                let x = exact::clamp(f32::from_bits(self.input(Ty::F32, *x)), least, 1.0);
                let whole = floor(self.add(Ty::F32, 0.5, self.mul(Ty::F32, scale, x)));
                *d |= (whole as i32 as u32 & mask) << (bits * part as u32);
            }
        }
    }

    /// `max(v / scale, -1)`; WGSL allows 3 ULP.
    fn unpack_norm(&self, words: &[u32], dst: &mut [u32], lanes: usize, bits: u32, signed: bool) {
        let scale = f64::from((1u32 << (bits - u32::from(signed))) - 1);
        unpack(words, dst, lanes, |word, i| {
            let top = word << (32 - bits * (i as u32 + 1));
            let v = if signed { (top as i32 >> (32 - bits)) as f64 } else { f64::from(top >> (32 - bits)) };
            let ideal = (v / scale).max(-1.0);
            let distance = Bound::Ulps(3.0).distance(Format::F32, ideal);
            let share = self.share(bits, f32::from_bits(v as i32 as u32), scale as f32);
            // Normalized: in [-1, 1], or [0, 1].
            let result = self.moved(Ty::F32, ideal, distance, share);
            exact::clamp(result, if signed { -1.0 } else { 0.0 }, 1.0).to_bits()
        });
    }
}

fn pack_halves<const LEAST: u32>(args: &[&[u32]], dst: &mut [u32], rounding: Rounding) {
    words2(args[0], args[1], dst, |low, high| {
        let [low, high] = [low, high].map(|x| half::narrow::<LEAST>(flush::<LEAST>(x), rounding));
        low | (high << 16)
    });
}

fn pack_bytes(args: &[&[u32]], dst: &mut [u32], of: impl Fn(u32) -> u32) {
    dst.fill(0);
    for (i, row) in args.iter().enumerate() {
        for (d, x) in dst.iter_mut().zip(*row) {
            *d |= of(*x) << (8 * i);
        }
    }
}

fn unpack(words: &[u32], dst: &mut [u32], lanes: usize, of: impl Fn(u32, usize) -> u32) {
    for (i, row) in dst.chunks_mut(lanes.max(1)).enumerate() {
        for (d, word) in row.iter_mut().zip(words) {
            *d = of(*word, i);
        }
    }
}

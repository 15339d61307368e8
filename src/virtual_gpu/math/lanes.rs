//! Loops over lanes that compilers vectorise. `LEAST`, where numbers less than the least normal one are
//! flushed, is the bits of that least number; 0 keeps them all.

/// A number, or a zero of its sign where it is flushed.
#[inline(always)]
pub(super) fn flush<const LEAST: u32>(word: u32) -> u32 {
    if word & 0x7fff_ffff < LEAST { word & 0x8000_0000 } else { word }
}

/// A bool as a register has it.
#[inline(always)]
pub(super) fn mask(truth: bool) -> u32 {
    u32::from(truth).wrapping_neg()
}

/// Words from words.
#[inline(always)]
pub(super) fn words1(a: &[u32], dst: &mut [u32], f: impl Fn(u32) -> u32) {
    for (d, a) in dst.iter_mut().zip(a) {
        *d = f(*a);
    }
}

/// Words from two words each.
#[inline(always)]
pub(super) fn words2(a: &[u32], b: &[u32], dst: &mut [u32], f: impl Fn(u32, u32) -> u32) {
    for ((d, a), b) in dst.iter_mut().zip(a).zip(b) {
        *d = f(*a, *b);
    }
}

/// Words from three words each.
#[inline(always)]
pub(super) fn words3([a, b, c]: [&[u32]; 3], dst: &mut [u32], f: impl Fn(u32, u32, u32) -> u32) {
    for (((d, a), b), c) in dst.iter_mut().zip(a).zip(b).zip(c) {
        *d = f(*a, *b, *c);
    }
}

/// Numbers from numbers.
#[inline(always)]
pub(super) fn floats1<const LEAST: u32>(a: &[u32], dst: &mut [u32], f: impl Fn(f32) -> f32) {
    words1(a, dst, |a| flush::<LEAST>(f(f32::from_bits(flush::<LEAST>(a))).to_bits()));
}

/// Numbers from two numbers each.
#[inline(always)]
pub(super) fn floats2<const LEAST: u32>(a: &[u32], b: &[u32], dst: &mut [u32], f: impl Fn(f32, f32) -> f32) {
    words2(a, b, dst, |a, b| {
        let (a, b) = (f32::from_bits(flush::<LEAST>(a)), f32::from_bits(flush::<LEAST>(b)));
        flush::<LEAST>(f(a, b).to_bits())
    });
}

/// Numbers from three numbers each.
#[inline(always)]
pub(super) fn floats3<const LEAST: u32>(
    args: [&[u32]; 3],
    dst: &mut [u32],
    f: impl Fn(f32, f32, f32) -> f32,
) {
    words3(args, dst, |a, b, c| {
        let [a, b, c] = [a, b, c].map(|x| f32::from_bits(flush::<LEAST>(x)));
        flush::<LEAST>(f(a, b, c).to_bits())
    });
}

/// Comparisons.
#[inline(always)]
pub(super) fn compare<const LEAST: u32>(a: &[u32], b: &[u32], dst: &mut [u32], f: impl Fn(f32, f32) -> bool) {
    words2(a, b, dst, |a, b| mask(f(f32::from_bits(flush::<LEAST>(a)), f32::from_bits(flush::<LEAST>(b)))));
}

/// The other neighbour of an exact result, if `up` asks for the greater one or `!up` for the lesser one and
/// `near`, the nearest number, is not it. `left`: what is missing from `near` to the exact result.
#[inline(always)]
pub(super) fn neighbour(near: f32, left: f32, up: bool) -> f32 {
    let bits = near.to_bits();
    let step = if (left > 0.0) == (near > 0.0) { 1 } else { u32::MAX };
    let next = if near == 0.0 { (left.to_bits() & 0x8000_0000) | 1 } else { bits.wrapping_add(step) };
    let moves = (if up { left > 0.0 } else { left < 0.0 }) && near.abs() < f32::INFINITY;
    f32::from_bits(if moves { next } else { bits })
}

/// A number to draw by: of seed, operation and operands.
#[inline(always)]
pub(super) fn hash(seed: u32, a: u32, b: u32) -> u32 {
    let mut h = (seed ^ a).wrapping_mul(0x85eb_ca6b);
    h = ((h ^ (h >> 15)) ^ b).wrapping_mul(0xc2b2_ae35);
    h = (h ^ (h >> 13)).wrapping_mul(0x9e37_79b1);
    h ^ (h >> 16)
}

/// `trunc`.
#[inline(always)]
pub(super) fn trunc(x: f32) -> f32 {
    // From 2^23 on, and for NaN, there is no fraction to drop.
    let whole = (x as i32 as f32).copysign(x);
    if x.abs() < 8_388_608.0 { whole } else { x }
}

/// `floor`.
#[inline(always)]
pub(super) fn floor(x: f32) -> f32 {
    let whole = trunc(x);
    if whole > x { whole - 1.0 } else { whole }
}

/// `ceil`.
#[inline(always)]
pub(super) fn ceil(x: f32) -> f32 {
    let whole = trunc(x);
    if whole < x { (whole + 1.0).copysign(x) } else { whole }
}

/// `round`: a half goes to the even neighbour.
#[inline(always)]
pub(super) fn round(x: f32) -> f32 {
    // The sum has no fraction, and is rounded to even.
    let shift = 8_388_608f32.copysign(x);
    let whole = ((x + shift) - shift).copysign(x);
    if x.abs() < 8_388_608.0 { whole } else { x }
}

/// How many lanes [`fused`] looks at together.
const TOGETHER: usize = 8;

/// `a * b + c`, rounded once to the nearest.
///
/// The product of two f32 is exact in f64, and rounding the f64 sum once more to f32 goes wrong only where
/// the f64 is exactly between two f32, or the f32 is not normal: those few are left to the C library.
#[inline(never)]
pub(super) fn fused<const LEAST: u32>(args: [&[u32]; 3], dst: &mut [u32]) {
    let number = |word: u32| f32::from_bits(flush::<LEAST>(word));
    let careful = |a: u32, b: u32, c: u32| flush::<LEAST>(number(a).mul_add(number(b), number(c)).to_bits());
    let [a, b, c] = args.map(|row| row.as_chunks::<TOGETHER>());
    let (whole, rest) = dst.as_chunks_mut::<TOGETHER>();
    for (((a, b), c), d) in a.0.iter().zip(b.0).zip(c.0).zip(whole) {
        let mut doubtful = 0;
        for i in 0..TOGETHER {
            let sum = f64::from(number(a[i])) * f64::from(number(b[i])) + f64::from(number(c[i]));
            let near = sum as f32;
            let between = sum.to_bits() as u32 & 0x1fff_ffff == 0x1000_0000;
            doubtful |= u32::from(between | ((near.abs() < f32::MIN_POSITIVE) & (sum != 0.0)));
            d[i] = flush::<LEAST>(near.to_bits());
        }
        if doubtful != 0 {
            for i in 0..TOGETHER {
                d[i] = careful(a[i], b[i], c[i]);
            }
        }
    }
    words3([a.1, b.1, c.1], rest, careful);
}

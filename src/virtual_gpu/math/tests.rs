//! That fast loops give what slow ones do, and both what Rust does where that is WGSL's.

use super::super::program::{Binary, Pack, Ternary, Ty, Unary};
use super::super::{Denormals, Fma, Inexact, Neighbour, Personality, Rounding};
use super::*;
use crate::rng::Rng;

/// Numbers that are hard for someone: zeros, denormals, ends, halves, what functions turn at.
pub(in crate::virtual_gpu) const EDGES: [f32; 36] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.5,
    2.0,
    2.5,
    -2.5,
    0.1,
    3.0,
    9.0,
    11.0,
    1e-40,
    -1e-44,
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    65504.0,
    65519.0,
    65520.0,
    8_388_607.5,
    8_388_609.0,
    16_777_217.0,
    2_147_483_520.0,
    4_294_967_040.0,
    -2_147_483_648.0,
    6.1e-5,
    5.96e-8,
    3.140625,
    3.141_592_5,
    std::f32::consts::PI,
    88.0,
    -87.5,
    1e20,
    1e-20,
];

/// Words that are hard for someone: zeros, denormals, ends, halves, whole numbers, and random bits.
pub(super) fn words(n: usize, seed: u64) -> Vec<u32> {
    let mut rng = Rng::new(seed);
    (0..n)
        .map(|_| match rng.below(4) {
            0 => EDGES[rng.below(EDGES.len() as u64) as usize].to_bits(),
            1 => (rng.signed() as f32 * 8.0).to_bits(),
            2 => (((rng.below(4096) as f32) - 2048.0) / 16.0).to_bits(),
            // Finite.
            _ => {
                let word = rng.next_u64() as u32;
                if word & 0x7f80_0000 == 0x7f80_0000 { word & 0xbfff_ffff } else { word }
            }
        })
        .collect()
}

fn numbers(change: impl Fn(&mut Personality)) -> Numbers {
    let mut personality = Personality::plain();
    change(&mut personality);
    Numbers::new(&personality)
}

fn same(a: u32, b: u32) -> bool {
    a == b || (f32::from_bits(a).is_nan() && f32::from_bits(b).is_nan())
}

const N: usize = 40_000;

type Of1 = fn(f32) -> f32;
type Of2 = fn(f32, f32) -> f32;

#[test]
fn plain_arithmetic_is_ieee() {
    let plain = numbers(|_| {});
    let (a, b, c) = (words(N, 1), words(N, 2), words(N, 3));
    let mut dst = vec![0; N];
    let f = f32::from_bits;
    let table: [(Binary, Of2); 4] = [
        (Binary::Add, |a, b| a + b),
        (Binary::Sub, |a, b| a - b),
        (Binary::Mul, |a, b| a * b),
        (Binary::Div, |a, b| a / b),
    ];
    for (op, expected) in table {
        plain.binary(op, Ty::F32, &a, &b, &mut dst);
        for i in 0..N {
            assert!(same(dst[i], expected(f(a[i]), f(b[i])).to_bits()), "{op:?} {:e} {:e}", f(a[i]), f(b[i]));
        }
    }
    plain.ternary(Ternary::Fma, Ty::F32, &a, &b, &c, &mut dst);
    for i in 0..N {
        let expected = f(a[i]).mul_add(f(b[i]), f(c[i]));
        assert!(same(dst[i], expected.to_bits()), "fma {:e} {:e} {:e}", f(a[i]), f(b[i]), f(c[i]));
        assert!(same(dst[i], plain.fma(Ty::F32, f(a[i]), f(b[i]), f(c[i])).to_bits()));
    }
    let table: [(Unary, Of1); 6] = [
        (Unary::Floor, f32::floor),
        (Unary::Ceil, f32::ceil),
        (Unary::Trunc, f32::trunc),
        (Unary::Round, f32::round_ties_even),
        (Unary::Abs, f32::abs),
        (Unary::Sqrt, f32::sqrt),
    ];
    for (op, expected) in table {
        plain.unary(op, Ty::F32, &a, &mut dst);
        for i in 0..N {
            assert!(same(dst[i], expected(f(a[i])).to_bits()), "{op:?} {:e}", f(a[i]));
        }
    }
}

#[test]
fn fused_sums_are_rounded_once() {
    // Sums that lie next to the middle between two numbers, and products that cancel.
    let plain = numbers(|_| {});
    let mut rng = Rng::new(9);
    let n = 200_000;
    let (mut a, mut b, mut c) = (vec![0; n], vec![0; n], vec![0; n]);
    for i in 0..n {
        let x = 1.0 + rng.below(1 << 23) as f32 / 8_388_608.0;
        let y = 1.0 + rng.below(1 << 12) as f32 / 8_388_608.0 * rng.below(4096) as f32;
        let z = match i % 4 {
            0 => -(x * y),
            1 => (x * y) * 2f32.powi(rng.below(60) as i32 - 30),
            2 => 2f32.powi(rng.below(54) as i32),
            _ => rng.signed() as f32 * 2f32.powi(-25),
        };
        let scale = if i % 5 == 0 { 2f32.powi(-75) } else { 1.0 };
        (a[i], b[i], c[i]) = ((x * scale).to_bits(), (y * scale).to_bits(), (z * scale * scale).to_bits());
    }
    let mut dst = vec![0; n];
    plain.ternary(Ternary::Fma, Ty::F32, &a, &b, &c, &mut dst);
    for i in 0..n {
        let [x, y, z] = [a[i], b[i], c[i]].map(f32::from_bits);
        assert_eq!(dst[i], x.mul_add(y, z).to_bits(), "{x:e} * {y:e} + {z:e}");
    }
}

#[test]
fn either_neighbour_is_a_neighbour_and_the_slow_way_agrees() {
    for flushed in [Denormals::Kept, Denormals::Flushed] {
        let either = numbers(|p| (p.arithmetic, p.denormals) = (Neighbour::Either, flushed));
        let (a, b) = (words(N, 4), words(N, 5));
        let mut dst = vec![0; N];
        let mut other = 0;
        let c = words(N, 10);
        either.ternary(Ternary::Fma, Ty::F32, &a, &b, &c, &mut dst);
        for i in 0..N {
            let [x, y, z] = [a[i], b[i], c[i]].map(|w| f32::from_bits(either.input(Ty::F32, w)));
            let (slow, fast) = (either.fma(Ty::F32, x, y, z), f32::from_bits(dst[i]));
            assert!(fast == slow || slow.abs() >= f32::MAX, "{x:e} * {y:e} + {z:e}: {fast:e} {slow:e}");
        }
        for op in [Binary::Add, Binary::Sub, Binary::Mul] {
            either.binary(op, Ty::F32, &a, &b, &mut dst);
            for i in 0..N {
                let [x, y] = [a[i], b[i]].map(|w| f32::from_bits(either.input(Ty::F32, w)));
                let slow = either.built_in2(op, Ty::F32, x, y);
                // Beyond the greatest number, there is a choice that the fast way does not take.
                let fast = f32::from_bits(dst[i]);
                assert!(fast == slow || slow.abs() >= f32::MAX, "{op:?} {x:e} {y:e}: {fast:e} {slow:e}");
                let near = match op {
                    Binary::Add => x + y,
                    Binary::Sub => x - y,
                    _ => x * y,
                };
                other += usize::from(near != fast);
            }
        }
        assert!(other > N / 4, "{other}");
    }
}

#[test]
fn halves_round_as_asked() {
    let f = f32::from_bits;
    for rounding in Rounding::ALL {
        let numbers = numbers(|p| p.f16 = *rounding);
        let third = numbers.div(Ty::F16, 1.0, 3.0);
        assert_eq!(third, Format::F16.round(1.0 / 3.0, Rounding::Nearest));
        let mut dst = [0];
        numbers.binary(Binary::Add, Ty::F16, &[1.0f32.to_bits()], &[2f32.powi(-24).to_bits()], &mut dst);
        let expected = if *rounding == Rounding::Up { 1.0 + 1.0 / 1024.0 } else { 1.0 };
        assert_eq!(f(dst[0]), expected, "{rounding:?}");
        numbers.convert(Ty::F32, Ty::F16, &[65510.0f32.to_bits()], &mut dst);
        assert_eq!(f(dst[0]), if *rounding == Rounding::Up { f32::INFINITY } else { 65504.0 });
        numbers.pack(Pack::Pack2x16Float, Ty::F32, &[&[0x3f80_0001], &[0xbf80_0001]], &mut dst);
        let expected = [0xbc00_3c00u32, 0xbc00_3c01, 0xbc01_3c00][*rounding as usize];
        assert_eq!(dst[0], expected, "{rounding:?}: {:x}", dst[0]);
    }
}

#[test]
fn integers_are_wgsl() {
    let plain = numbers(|_| {});
    let one = |op, ty, a: i64, b: i64| {
        let mut dst = [0];
        plain.binary(op, ty, &[a as u32], &[b as u32], &mut dst);
        dst[0] as i32
    };
    let min = i64::from(i32::MIN);
    assert_eq!(one(Binary::Div, Ty::I32, min, -1), i32::MIN);
    assert_eq!(one(Binary::Rem, Ty::I32, min, -1), 0);
    assert_eq!(one(Binary::Div, Ty::I32, 7, 0), 7);
    assert_eq!(one(Binary::Rem, Ty::I32, -7, 4), -3);
    assert_eq!(one(Binary::Div, Ty::I32, -7, 2), -3);
    assert_eq!(one(Binary::Rem, Ty::U32, 7, 0), 0);
    assert_eq!(one(Binary::Shl, Ty::U32, 1, 33), 2);
    assert_eq!(one(Binary::Shr, Ty::I32, -8, 1), -4);
    assert_eq!(one(Binary::Lt, Ty::I32, -1, 0), -1);
    assert_eq!(one(Binary::Lt, Ty::U32, -1, 0), 0);
    assert_eq!(one(Binary::Max, Ty::I32, -1, 0), 0);
    let extract = |ty, a: u32, offset, count| {
        let mut dst = [0];
        plain.ternary(Ternary::ExtractBits, ty, &[a], &[offset], &[count], &mut dst);
        dst[0]
    };
    assert_eq!(extract(Ty::I32, 0xf0, 4, 4), u32::MAX);
    assert_eq!(extract(Ty::U32, 0xf0, 4, 4), 0xf);
    assert_eq!(extract(Ty::U32, 0xffff_ffff, 28, 100), 0xf);
    assert_eq!(extract(Ty::U32, 0xffff_ffff, 100, 100), 0);
    let mut dst = [0];
    plain.pack(Pack::InsertBits, Ty::U32, &[&[0], &[u32::MAX], &[4], &[8]], &mut dst);
    assert_eq!(dst[0], 0xff0);
    plain.pack(Pack::Dot4I8Packed, Ty::U32, &[&[0x80ff_0102], &[0x8001_0203]], &mut dst);
    assert_eq!(dst[0] as i32, 128 * 128 - 1 + 2 + 6);
    plain.unary(Unary::FirstLeadingBit, Ty::I32, &[0xffff_fffe], &mut dst);
    assert_eq!(dst[0], 0);
}

#[test]
fn conversions_saturate_to_what_the_float_has() {
    let plain = numbers(|_| {});
    let one = |to, x: f32| {
        let mut dst = [0];
        plain.convert(Ty::F32, to, &[x.to_bits()], &mut dst);
        dst[0]
    };
    assert_eq!(one(Ty::I32, 1e20), 2_147_483_520);
    assert_eq!(one(Ty::I32, -1e20) as i32, i32::MIN);
    assert_eq!(one(Ty::U32, 1e20), 4_294_967_040);
    assert_eq!(one(Ty::U32, -1.0), 0);
    assert_eq!(one(Ty::I32, -3.9) as i32, -3);
    assert_eq!(one(Ty::I32, f32::NAN), 0);
    assert_eq!(one(Ty::Bool, 1e-40), u32::MAX);
}

#[test]
fn packed_norms() {
    let plain = numbers(|p| p.inexact = Inexact::Exact);
    let mut dst = [0];
    let args: Vec<_> = [-1.0f32, 1.5, 0.5, -0.5].iter().map(|x| [x.to_bits()]).collect();
    let args: Vec<&[u32]> = args.iter().map(|a| &a[..]).collect();
    plain.pack(Pack::Pack4x8Snorm, Ty::F32, &args, &mut dst);
    // floor(64.0) and floor(-63.0): halves go up.
    assert_eq!(dst[0], u32::from_le_bytes([-127i8 as u8, 127, 64, -63i8 as u8]));
    plain.pack(Pack::Pack4x8Unorm, Ty::F32, &args, &mut dst);
    assert_eq!(dst[0], u32::from_le_bytes([0, 255, 128, 0]));
    let mut four = [0; 4];
    plain.pack(Pack::Unpack4x8Snorm, Ty::F32, &[&[u32::from_le_bytes([0x80, 127, 0, 1])]], &mut four);
    assert_eq!(four.map(f32::from_bits), [-1.0, 1.0, 0.0, 1.0 / 127.0]);
}

#[test]
fn split_fma_rounds_twice() {
    let split = numbers(|p| p.fma = Fma::Split);
    let x = 1.0 + f32::EPSILON;
    let mut dst = [0];
    split.ternary(Ternary::Fma, Ty::F32, &[x.to_bits()], &[x.to_bits()], &[(-1.0f32).to_bits()], &mut dst);
    assert_eq!(f32::from_bits(dst[0]), x * x - 1.0);
}

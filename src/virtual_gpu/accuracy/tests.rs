//! That no personality gives what WGSL does not accept, and that the table says what it should.

use super::super::{Inexact, Personality};
use super::*;
use crate::rng::Rng;
use crate::virtual_gpu::math::tests::EDGES;

const FLOAT1: [Unary; 32] = [
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Saturate,
    Unary::Cos,
    Unary::Cosh,
    Unary::Sin,
    Unary::Sinh,
    Unary::Tan,
    Unary::Tanh,
    Unary::Acos,
    Unary::Asin,
    Unary::Atan,
    Unary::Asinh,
    Unary::Acosh,
    Unary::Atanh,
    Unary::Radians,
    Unary::Degrees,
    Unary::Ceil,
    Unary::Floor,
    Unary::Round,
    Unary::Fract,
    Unary::Trunc,
    Unary::Exp,
    Unary::Exp2,
    Unary::Log,
    Unary::Log2,
    Unary::Sqrt,
    Unary::InverseSqrt,
    Unary::FrexpFraction,
    Unary::FrexpExponent,
    Unary::QuantizeToF16,
];

const FLOAT2: [Binary; 17] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Rem,
    Binary::Eq,
    Binary::Ne,
    Binary::Lt,
    Binary::Le,
    Binary::Gt,
    Binary::Ge,
    Binary::Min,
    Binary::Max,
    Binary::Pow,
    Binary::Atan2,
    Binary::Step,
    Binary::Ldexp,
];

const FLOAT3: [Ternary; 4] = [Ternary::Fma, Ternary::Clamp, Ternary::Mix, Ternary::Smoothstep];

const FLOAT_PACKS: [(Pack, usize); 10] = [
    (Pack::Pack2x16Float, 2),
    (Pack::Pack2x16Snorm, 2),
    (Pack::Pack2x16Unorm, 2),
    (Pack::Pack4x8Snorm, 4),
    (Pack::Pack4x8Unorm, 4),
    (Pack::Unpack2x16Float, 1),
    (Pack::Unpack2x16Snorm, 1),
    (Pack::Unpack2x16Unorm, 1),
    (Pack::Unpack4x8Snorm, 1),
    (Pack::Unpack4x8Unorm, 1),
];

/// Operands of a type: edges, small numbers, and any bits that are a finite number.
fn operands(ty: Ty, n: usize, seed: u64) -> Vec<u32> {
    let mut rng = Rng::new(seed);
    let word = |rng: &mut Rng| match rng.below(4) {
        0 => EDGES[rng.below(EDGES.len() as u64) as usize].to_bits(),
        1 => (rng.signed() as f32 * 6.0).to_bits(),
        2 => (((rng.below(512) as f32) - 256.0) / 16.0).to_bits(),
        _ => {
            let word = rng.next_u64() as u32;
            if word & 0x7f80_0000 == 0x7f80_0000 { word & 0xbfff_ffff } else { word }
        }
    };
    let all = (0..n).map(|_| match ty {
        Ty::F16 => {
            let bits = Numbers::store_f16(word(&mut rng));
            let finite = if bits & 0x7c00 == 0x7c00 { rng.next_u64() as u32 & 0xbbff } else { bits };
            Numbers::load_f16(finite)
        }
        _ => word(&mut rng),
    });
    all.collect()
}

fn run(numbers: &Numbers, op: Operation, ty: Ty, rows: &[&[u32]]) -> Vec<Vec<u32>> {
    let n = rows[0].len();
    let mut dst = vec![0; n];
    match op {
        Operation::Unary(op) => numbers.unary(op, ty, rows[0], &mut dst),
        Operation::Binary(op) => numbers.binary(op, ty, rows[0], rows[1], &mut dst),
        Operation::Ternary(op) => numbers.ternary(op, ty, rows[0], rows[1], rows[2], &mut dst),
        Operation::Convert(to) => numbers.convert(ty, to, rows[0], &mut dst),
        Operation::Select => unreachable!("it has no arithmetic"),
        Operation::Dot(n) => numbers.dot(ty, &rows[..n], &rows[n..], &mut dst),
        Operation::Pack(op) => {
            let mut all = vec![0; n * results(op)];
            numbers.pack(op, ty, rows, &mut all);
            return all.chunks(n).map(Into::into).collect();
        }
    }
    vec![dst]
}

fn operations() -> Vec<(Operation, Ty, usize)> {
    let mut all = Vec::new();
    for ty in [Ty::F32, Ty::F16] {
        all.extend(FLOAT1.map(|op| (Operation::Unary(op), ty, 1)));
        all.extend(FLOAT2.map(|op| (Operation::Binary(op), ty, 2)));
        all.extend(FLOAT3.map(|op| (Operation::Ternary(op), ty, 3)));
        all.extend([2, 3, 4].map(|n| (Operation::Dot(n), ty, 2 * n)));
        all.extend([Ty::F32, Ty::F16, Ty::I32, Ty::U32, Ty::Bool].map(|to| (Operation::Convert(to), ty, 1)));
    }
    all.retain(|(op, ty, _)| !(*op == Operation::Unary(Unary::QuantizeToF16) && *ty == Ty::F16));
    all.extend([Ty::I32, Ty::U32].map(|ty| (Operation::Convert(Ty::F32), ty, 1)));
    all.extend(FLOAT_PACKS.map(|(op, n)| (Operation::Pack(op), Ty::F32, n)));
    all
}

#[test]
fn every_personality_gives_what_is_accepted() {
    const N: usize = 600;
    let mut wrong = Vec::new();
    for (k, (op, ty, arity)) in operations().into_iter().enumerate() {
        let mut rows: Vec<_> = (0..arity).map(|i| operands(ty, N, (k * 10 + i) as u64)).collect();
        if op == Operation::Binary(Binary::Ldexp) {
            let mut rng = Rng::new(1);
            rows[1] = (0..N).map(|_| (rng.below(300) as i32 - 150) as u32).collect();
        }
        let rows: Vec<&[u32]> = rows.iter().map(|r| &r[..]).collect();
        let accepted: Vec<_> =
            (0..N).map(|lane| accepted(op, ty, &rows.iter().map(|r| r[lane]).collect::<Vec<_>>())).collect();
        for personality in Personality::all() {
            let given = run(&Numbers::new(&personality), op, ty, &rows);
            for lane in 0..N {
                for (result, accepted) in given.iter().zip(&accepted[lane]) {
                    if !accepted.holds(result[lane]) {
                        let args: Vec<_> = rows.iter().map(|r| f32::from_bits(r[lane])).collect();
                        let got = f32::from_bits(result[lane]);
                        wrong.push(format!(
                            "{}: {op:?} {ty:?} {args:?}: {got:e} ({:#x}), not {accepted:?}",
                            personality.name, result[lane]
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}

#[test]
fn freedoms_are_taken() {
    // A personality that errs gives another result than an exact one, for what may be inexact.
    let numbers = |inexact| Numbers::new(&Personality { inexact, ..Personality::plain() });
    for op in [Unary::Exp, Unary::Log, Unary::Sin, Unary::Tanh, Unary::Sqrt, Unary::Atan, Unary::Sinh] {
        let x = [0.75f32.to_bits()];
        let of = |inexact| run(&numbers(inexact), Operation::Unary(op), Ty::F32, &[&x])[0][0];
        let (exact, high, low) = (of(Inexact::Exact), of(Inexact::High), of(Inexact::Low));
        assert!(high != exact && low != exact && high != low, "{op:?}");
        assert!((f32::from_bits(exact) - ideal_f32(op, 0.75)).abs() < 1e-7, "{op:?}");
    }
}

fn ideal_f32(op: Unary, x: f64) -> f32 {
    super::super::math::ideal(op, x) as f32
}

#[test]
fn the_table_is_neither_too_wide_nor_too_narrow() {
    let one = |op, args: &[f32]| {
        let words: Vec<_> = args.iter().map(|x| x.to_bits()).collect();
        accepted(op, Ty::F32, &words).remove(0)
    };
    let add = one(Operation::Binary(Binary::Add), &[1.0, 1e-10]);
    assert!(add.holds(1.0f32.to_bits()) && add.holds(1.0f32.next_up().to_bits()));
    assert!(!add.holds(1.0f32.next_down().to_bits()) && !add.holds(f32::NAN.to_bits()));
    // 2.5 ULP of 2, where the ULP is that below it.
    let div = one(Operation::Binary(Binary::Div), &[6.0, 3.0]);
    let ulp = f32::EPSILON;
    assert!(div.holds((2.0 - 2.0 * ulp).to_bits()) && !div.holds((2.0 - 3.0 * ulp).to_bits()));
    assert_eq!(one(Operation::Binary(Binary::Div), &[1.0, 0.0]), Accepted::Number(Interval::ANYTHING));
    let tiny = one(Operation::Binary(Binary::Mul), &[1e-20, 1e-20]);
    assert!(tiny.holds(0) && tiny.holds((1e-20f32 * 1e-20).to_bits()) && !tiny.holds(0x8000_0001));
    let less = Operation::Binary(Binary::Lt);
    assert_eq!(one(less, &[0.0, 1e-40]), Accepted::Anything);
    assert_eq!(one(less, &[0.0, 1.0]), Accepted::Word(u32::MAX));
    let log = one(Operation::Unary(Unary::Log), &[1.0]);
    assert!(log.holds(4.7e-7f32.to_bits()) && !log.holds(4.8e-7f32.to_bits()));
    let whole = one(Operation::Convert(Ty::I32), &[1e20]);
    assert_eq!(whole, Accepted::Word(2_147_483_520));
    // 1e8 + 1 - 1e8, in some order, is 1; in another it is 0; none gives 2.
    let dot = one(Operation::Dot(3), &[1e8, 1.0, -1e8, 1.0, 1.0, 1.0]);
    assert!(dot.holds(1.0f32.to_bits()) && dot.holds(0) && !dot.holds(20.0f32.to_bits()));
}

//! Which results WGSL accepts: its table of accuracies, for operators and built-ins on given operands.
//!
//! Source of every row: WGSL, "Floating Point Accuracy" and the descriptions of the functions; where its
//! table says "inherited from", the expression is evaluated in intervals, with every operand and result
//! flushed or not. What overflows, and what is outside a domain, may be anything.

mod interval;
#[cfg(test)]
mod tests;

use super::Personality;
use super::math::{Bound, Format, Numbers, results};
use super::program::{Binary, Pack, Ternary, Ty, Unary};
use interval::Evaluate;
pub use interval::Interval;

/// An operator or built-in; the type of its operands stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Of one operand.
    Unary(Unary),
    /// Of two.
    Binary(Binary),
    /// Of three.
    Ternary(Ternary),
    /// A conversion to a type.
    Convert(Ty),
    /// One that packs or unpacks.
    Pack(Pack),
    /// `select(reject, accept, condition)`, the bits.
    Select,
    /// `dot` of vectors of so many components: those of the first, then those of the second.
    Dot(usize),
}

/// What a result may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    /// Any bits.
    Anything,
    /// These bits alone.
    Word(u32),
    /// A number.
    Number(Interval),
    /// Fields of so many bits, from the lowest on, each of which may be from one whole number to another;
    /// `None`: anything.
    Fields(u32, Vec<Option<(i64, i64)>>),
    /// Two f16 in a word.
    Halves([Interval; 2]),
}

impl Accepted {
    /// Whether a result is one of these.
    pub fn holds(&self, word: u32) -> bool {
        match self {
            Self::Anything => true,
            Self::Word(expected) => word == *expected,
            Self::Number(interval) => interval.holds(f32::from_bits(word)),
            Self::Fields(bits, fields) => fields.iter().enumerate().all(|(i, field)| {
                let value = i64::from(word >> (*bits * i as u32)) & ((1 << bits) - 1);
                let signed = value - if value >> (bits - 1) == 1 { 1 << bits } else { 0 };
                field.is_none_or(|(low, high)| [value, signed].iter().any(|v| (low..=high).contains(v)))
            }),
            Self::Halves(halves) => (halves.iter().zip([word & 0xffff, word >> 16]))
                .all(|(interval, bits)| interval.holds(f32::from_bits(Numbers::load_f16(bits)))),
        }
    }
}

/// The results that WGSL accepts of an operation on operands of type `ty`, as registers have them.
pub fn accepted(op: Operation, ty: Ty, args: &[u32]) -> Vec<Accepted> {
    let float = matches!(ty, Ty::F32 | Ty::F16);
    let x = |i: usize| f32::from_bits(args[i]);
    let one = |interval| vec![Accepted::Number(interval)];
    match op {
        Operation::Unary(Unary::FrexpExponent) => vec![frexp_exponent(ty, x(0))],
        Operation::Unary(op) if float => one(unary(op, ty, x(0))),
        Operation::Binary(Binary::Ldexp) => one(ldexp(ty, x(0), args[1] as i32)),
        Operation::Binary(op) if float && compared(op, 0.0, 0.0).is_some() => {
            vec![comparison(op, ty, x(0), x(1))]
        }
        Operation::Binary(op) if float => one(binary(op, ty, x(0), x(1))),
        Operation::Ternary(op) if float => one(ternary(op, ty, [x(0), x(1), x(2)])),
        Operation::Convert(to @ (Ty::F32 | Ty::F16)) => one(converted(ty, to, args[0])),
        Operation::Convert(_) if float && x(0).is_nan() => vec![Accepted::Anything],
        Operation::Pack(op) => packed(op, ty, args),
        Operation::Dot(n) if float => {
            let e = Evaluate(ty);
            let terms: Vec<_> = (0..n).map(|i| e.mul(e.operand(x(i)), e.operand(x(n + i)))).collect();
            one(sum(e, &terms))
        }
        _ => exact(op, ty, args),
    }
}

/// Whole numbers and bools: there is one result.
fn exact(op: Operation, ty: Ty, args: &[u32]) -> Vec<Accepted> {
    let numbers = Numbers::new(&Personality::plain());
    let rows: Vec<&[u32]> = args.chunks(1).collect();
    let mut word = [0];
    match op {
        Operation::Unary(op) => numbers.unary(op, ty, rows[0], &mut word),
        Operation::Binary(op) => numbers.binary(op, ty, rows[0], rows[1], &mut word),
        Operation::Ternary(op) => numbers.ternary(op, ty, rows[0], rows[1], rows[2], &mut word),
        Operation::Convert(to) => numbers.convert(ty, to, rows[0], &mut word),
        Operation::Dot(n) => numbers.dot(ty, &rows[..n], &rows[n..], &mut word),
        Operation::Select => word[0] = if args[2] == 0 { args[0] } else { args[1] },
        Operation::Pack(op) => {
            let mut words = vec![0; results(op)];
            numbers.pack(op, ty, &rows, &mut words);
            return words.into_iter().map(Accepted::Word).collect();
        }
    }
    vec![Accepted::Word(word[0])]
}

fn unary(op: Unary, ty: Ty, x: f32) -> Interval {
    let e = Evaluate(ty);
    let operand = e.operand(x);
    let one = Interval::exactly(1.0);
    if operand.is_anything() {
        return operand;
    }
    match op {
        Unary::Neg => operand.map(|x| -x),
        // A denormal may be flushed or not, and there is nothing between that matters.
        Unary::Abs => operand.map(f64::abs),
        Unary::Sign => operand.map(|x| if x == 0.0 { 0.0 } else { x.signum() }),
        Unary::Saturate => operand.map(|x| x.clamp(0.0, 1.0)),
        Unary::Ceil => operand.map(f64::ceil),
        Unary::Floor => operand.map(f64::floor),
        Unary::Round => operand.map(f64::round_ties_even),
        Unary::Trunc => operand.map(f64::trunc),
        Unary::Fract => e.sub(operand, operand.map(f64::floor)),
        Unary::FrexpFraction if operand.is_wide() => Interval::ANYTHING,
        Unary::FrexpFraction => operand.map(|x| libm::frexp(x).0),
        Unary::QuantizeToF16 if x.abs() > 65504.0 => Interval::ANYTHING,
        Unary::QuantizeToF16 => Evaluate(Ty::F16).rounded(operand),
        Unary::Sqrt => e.sqrt(operand),
        Unary::Tan => e.div(e.bounded(Unary::Sin, operand), e.bounded(Unary::Cos, operand)),
        Unary::Sinh | Unary::Cosh => hyperbolic(e, op, operand),
        Unary::Tanh => {
            let ratio = e.div(hyperbolic(e, Unary::Sinh, operand), hyperbolic(e, Unary::Cosh, operand));
            e.bounded(op, operand).hull(ratio)
        }
        Unary::Acos | Unary::Asin => {
            let other = e.sqrt(e.sub(one, e.mul(operand, operand)));
            let angle = if op == Unary::Acos { e.atan2(other, operand) } else { e.atan2(operand, other) };
            e.bounded(op, operand).hull(angle)
        }
        Unary::Asinh | Unary::Acosh => {
            let square = e.mul(operand, operand);
            let square = if op == Unary::Asinh { e.add(square, one) } else { e.sub(square, one) };
            logarithm(e, Unary::Log, e.add(operand, e.sqrt(square)))
        }
        Unary::Atanh => {
            let ratio = e.div(e.add(one, operand), e.sub(one, operand));
            e.mul(logarithm(e, Unary::Log, ratio), Interval::exactly(0.5))
        }
        Unary::Radians | Unary::Degrees => e.mul(operand, e.turn(op == Unary::Degrees)),
        Unary::Log | Unary::Log2 => logarithm(e, op, operand),
        Unary::InverseSqrt if operand.low <= 0.0 => Interval::ANYTHING,
        _ => e.bounded(op, operand),
    }
}

fn logarithm(e: Evaluate, op: Unary, x: Interval) -> Interval {
    if x.low <= 0.0 { Interval::ANYTHING } else { e.bounded(op, x) }
}

/// `(exp(x) ± exp(-x)) * 0.5`.
fn hyperbolic(e: Evaluate, op: Unary, x: Interval) -> Interval {
    let up = e.bounded(Unary::Exp, x);
    let down = e.bounded(Unary::Exp, Interval { low: -x.high, high: -x.low });
    let sum = if op == Unary::Sinh { e.sub(up, down) } else { e.add(up, down) };
    e.mul(sum, Interval::exactly(0.5))
}

/// The exponent of `frexp`; of denormals, it is indeterminate.
fn frexp_exponent(ty: Ty, x: f32) -> Accepted {
    let operand = Evaluate(ty).operand(x);
    if operand.is_anything() || operand.is_wide() {
        return Accepted::Anything;
    }
    Accepted::Word(libm::frexpf(x).1 as u32)
}

fn ldexp(ty: Ty, x: f32, exponent: i32) -> Interval {
    let e = Evaluate(ty);
    let bias = Format::of(ty).bias();
    if exponent > bias + 1 {
        return Interval::ANYTHING;
    }
    let scale = 2f64.powi(exponent.max(-600));
    let result = e.rounded(e.operand(x).map(|x| x * scale));
    if exponent + bias <= 0 { result.hull(Interval::exactly(0.0)) } else { result }
}

fn compared(op: Binary, a: f64, b: f64) -> Option<bool> {
    Some(match op {
        Binary::Eq => a == b,
        Binary::Ne => a != b,
        Binary::Lt => a < b,
        Binary::Le => a <= b,
        Binary::Gt => a > b,
        Binary::Ge => a >= b,
        _ => return None,
    })
}

/// A comparison, of operands that are flushed or not.
fn comparison(op: Binary, ty: Ty, a: f32, b: f32) -> Accepted {
    let (a, b) = (Evaluate(ty).operand(a), Evaluate(ty).operand(b));
    let all = [(a.low, b.low), (a.low, b.high), (a.high, b.low), (a.high, b.high)];
    let first = compared(op, a.low, b.low);
    if a.is_anything() || b.is_anything() || all.iter().any(|(a, b)| compared(op, *a, *b) != first) {
        return Accepted::Anything;
    }
    Accepted::Word(if first == Some(true) { u32::MAX } else { 0 })
}

fn binary(op: Binary, ty: Ty, a: f32, b: f32) -> Interval {
    let e = Evaluate(ty);
    let (x, y) = (e.operand(a), e.operand(b));
    if x.is_anything() || y.is_anything() {
        return Interval::ANYTHING;
    }
    match op {
        Binary::Add => e.add(x, y),
        Binary::Sub => e.sub(x, y),
        Binary::Mul => e.mul(x, y),
        Binary::Div => e.div(x, y),
        Binary::Rem => e.sub(x, e.mul(y, e.div(x, y).map(f64::trunc))),
        Binary::Min => Interval { low: x.low.min(y.low), high: x.high.min(y.high) },
        Binary::Max => Interval { low: x.low.max(y.low), high: x.high.max(y.high) },
        Binary::Pow => {
            let exponent = e.mul(y, logarithm(e, Unary::Log2, x));
            e.bounded(Unary::Exp2, exponent)
        }
        Binary::Atan2 => e.atan2(x, y),
        Binary::Step => match comparison(Binary::Le, ty, a, b) {
            Accepted::Word(word) => Interval::exactly(f64::from(word & 1)),
            _ => Interval { low: 0.0, high: 1.0 },
        },
        _ => Interval::ANYTHING,
    }
}

fn ternary(op: Ternary, ty: Ty, args: [f32; 3]) -> Interval {
    let e = Evaluate(ty);
    let [x, y, z] = args.map(|x| e.operand(x));
    let one = Interval::exactly(1.0);
    if x.is_anything() || y.is_anything() || z.is_anything() {
        return Interval::ANYTHING;
    }
    match op {
        Ternary::Fma => e.add(e.mul(x, y), z),
        Ternary::Mix => e.add(e.mul(x, e.sub(one, z)), e.mul(y, z)),
        Ternary::Smoothstep => {
            let t = e.div(e.sub(z, x), e.sub(y, x)).map(|t| t.clamp(0.0, 1.0));
            let (two, three) = (Interval::exactly(2.0), Interval::exactly(3.0));
            e.mul(e.mul(t, t), e.sub(three, e.mul(two, t)))
        }
        Ternary::Clamp => {
            let clamp = |x: f64, low: f64, high: f64| x.max(low).min(high);
            let first = Interval { low: clamp(x.low, y.low, z.low), high: clamp(x.high, y.high, z.high) };
            // The median of the three, which is another number where the bounds are the wrong way round.
            let median = |mut all: [f64; 3]| {
                all.sort_by(f64::total_cmp);
                all[1]
            };
            let second =
                Interval { low: median([x.low, y.low, z.low]), high: median([x.high, y.high, z.high]) };
            first.hull(second)
        }
        Ternary::ExtractBits => Interval::ANYTHING,
    }
}

/// A sum in any order, and with any brackets that two pairs can have.
fn sum(e: Evaluate, terms: &[Interval]) -> Interval {
    match terms {
        [] => Interval::exactly(0.0),
        [one] => *one,
        [a, b] => e.add(*a, *b),
        _ => {
            // Any non-empty part, the last term never in it so that no split comes twice, and the rest.
            let splits = 1..1u32 << (terms.len() - 1);
            let part = |mask: u32, of: u32| -> Vec<Interval> {
                let chosen = (0..terms.len()).filter(|i| (mask >> i) & 1 == of);
                chosen.map(|i| terms[i]).collect()
            };
            splits
                .map(|mask| e.add(sum(e, &part(mask, 1)), sum(e, &part(mask, 0))))
                .reduce(Interval::hull)
                .unwrap_or(Interval::ANYTHING)
        }
    }
}

/// A conversion to a float: exact, or one of two neighbours. WGSL lets conversions flush nothing.
fn converted(from: Ty, to: Ty, word: u32) -> Interval {
    let x = match from {
        Ty::Bool => f64::from(word & 1),
        Ty::I32 => f64::from(word as i32),
        Ty::U32 => f64::from(word),
        Ty::F32 | Ty::F16 => f64::from(f32::from_bits(word)),
    };
    let neighbour = |rounding| f64::from(Format::of(to).round(x, rounding));
    Interval { low: neighbour(super::Rounding::Down), high: neighbour(super::Rounding::Up) }
}

fn packed(op: Pack, ty: Ty, args: &[u32]) -> Vec<Accepted> {
    let x = |i: usize| f32::from_bits(args[i]);
    // A field of 8 or 16 bits, and whether it is signed: `floor(0.5 + scale * clamp(x, least, 1))`.
    let norm = |bits: u32, signed: bool| {
        let e = Evaluate(Ty::F32);
        let scale = Interval::exactly(f64::from((1u32 << (bits - u32::from(signed))) - 1));
        let field = |i: usize| {
            let x = e.operand(x(i));
            let x = x.map(|x| x.clamp(if signed { -1.0 } else { 0.0 }, 1.0));
            let whole = e.add(Interval::exactly(0.5), e.mul(scale, x)).map(f64::floor);
            (!whole.is_anything()).then_some((whole.low as i64, whole.high as i64))
        };
        vec![Accepted::Fields(bits, (0..args.len()).map(field).collect())]
    };
    let unpack = |bits: u32, signed: bool| {
        let scale = f64::from((1u32 << (bits - u32::from(signed))) - 1);
        let part = |i: u32| {
            let top = args[0] << (32 - bits * (i + 1));
            let v = if signed { f64::from(top as i32 >> (32 - bits)) } else { f64::from(top >> (32 - bits)) };
            Accepted::Number(Evaluate(Ty::F32).within((v / scale).max(-1.0), Bound::Ulps(3.0), false))
        };
        (0..32 / bits).map(part).collect()
    };
    match op {
        Pack::Pack2x16Float => {
            let halves = [0, 1].map(|i| unary(Unary::QuantizeToF16, Ty::F32, x(i)));
            // "If either is outside the finite range, the result is an indeterminate value for u32".
            let anything = halves.iter().any(|half| half.is_anything());
            vec![if anything { Accepted::Anything } else { Accepted::Halves(halves) }]
        }
        Pack::Unpack2x16Float => [args[0] & 0xffff, args[0] >> 16]
            .map(|bits| Accepted::Number(Evaluate(Ty::F16).operand(f32::from_bits(Numbers::load_f16(bits)))))
            .into(),
        Pack::Pack2x16Snorm => norm(16, true),
        Pack::Pack2x16Unorm => norm(16, false),
        Pack::Pack4x8Snorm => norm(8, true),
        Pack::Pack4x8Unorm => norm(8, false),
        Pack::Unpack2x16Snorm => unpack(16, true),
        Pack::Unpack2x16Unorm => unpack(16, false),
        Pack::Unpack4x8Snorm => unpack(8, true),
        Pack::Unpack4x8Unorm => unpack(8, false),
        _ => exact(Operation::Pack(op), ty, args),
    }
}

//! Every operator and built-in, as an expression of `x`, `y`, `z`, …, and operands to try it on.

use tachylite::rng::Rng;
use tachylite::virtual_gpu::accuracy::Operation;
use tachylite::virtual_gpu::{Binary, Pack, Ternary, Ty, Unary};

/// An operation to compare.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is called in reports.
    pub name: String,
    pub op: Operation,
    /// The type that the table of accuracies goes by: the first operand's.
    pub ty: Ty,
    pub args: Vec<Ty>,
    pub result: Ty,
    /// Components of the result.
    pub results: usize,
    pub text: String,
}

const FLOAT1: [(Unary, &str); 31] = [
    (Unary::Neg, "-x"),
    (Unary::Abs, "abs(x)"),
    (Unary::Sign, "sign(x)"),
    (Unary::Saturate, "saturate(x)"),
    (Unary::Cos, "cos(x)"),
    (Unary::Cosh, "cosh(x)"),
    (Unary::Sin, "sin(x)"),
    (Unary::Sinh, "sinh(x)"),
    (Unary::Tan, "tan(x)"),
    (Unary::Tanh, "tanh(x)"),
    (Unary::Acos, "acos(x)"),
    (Unary::Asin, "asin(x)"),
    (Unary::Atan, "atan(x)"),
    (Unary::Asinh, "asinh(x)"),
    (Unary::Acosh, "acosh(x)"),
    (Unary::Atanh, "atanh(x)"),
    (Unary::Radians, "radians(x)"),
    (Unary::Degrees, "degrees(x)"),
    (Unary::Ceil, "ceil(x)"),
    (Unary::Floor, "floor(x)"),
    (Unary::Round, "round(x)"),
    (Unary::Fract, "fract(x)"),
    (Unary::Trunc, "trunc(x)"),
    (Unary::Exp, "exp(x)"),
    (Unary::Exp2, "exp2(x)"),
    (Unary::Log, "log(x)"),
    (Unary::Log2, "log2(x)"),
    (Unary::Sqrt, "sqrt(x)"),
    (Unary::InverseSqrt, "inverseSqrt(x)"),
    (Unary::FrexpFraction, "frexp(x).fract"),
    (Unary::QuantizeToF16, "quantizeToF16(x)"),
];

const FLOAT2: [(Binary, &str); 10] = [
    (Binary::Add, "x + y"),
    (Binary::Sub, "x - y"),
    (Binary::Mul, "x * y"),
    (Binary::Div, "x / y"),
    (Binary::Rem, "x % y"),
    (Binary::Min, "min(x, y)"),
    (Binary::Max, "max(x, y)"),
    (Binary::Pow, "pow(x, y)"),
    (Binary::Atan2, "atan2(x, y)"),
    (Binary::Step, "step(x, y)"),
];

const COMPARE: [(Binary, &str); 6] = [
    (Binary::Eq, "x == y"),
    (Binary::Ne, "x != y"),
    (Binary::Lt, "x < y"),
    (Binary::Le, "x <= y"),
    (Binary::Gt, "x > y"),
    (Binary::Ge, "x >= y"),
];

const FLOAT3: [(Ternary, &str); 4] = [
    (Ternary::Fma, "fma(x, y, z)"),
    (Ternary::Clamp, "clamp(x, y, z)"),
    (Ternary::Mix, "mix(x, y, z)"),
    (Ternary::Smoothstep, "smoothstep(x, y, z)"),
];

const INT1: [(Unary, &str); 9] = [
    (Unary::Not, "~x"),
    (Unary::Abs, "abs(x)"),
    (Unary::CountTrailingZeros, "countTrailingZeros(x)"),
    (Unary::CountLeadingZeros, "countLeadingZeros(x)"),
    (Unary::CountOneBits, "countOneBits(x)"),
    (Unary::ReverseBits, "reverseBits(x)"),
    (Unary::FirstTrailingBit, "firstTrailingBit(x)"),
    (Unary::FirstLeadingBit, "firstLeadingBit(x)"),
    // Of i32 alone.
    (Unary::Neg, "-x"),
];

const INT2: [(Binary, &str); 10] = [
    (Binary::Add, "x + y"),
    (Binary::Sub, "x - y"),
    (Binary::Mul, "x * y"),
    (Binary::Div, "x / y"),
    (Binary::Rem, "x % y"),
    (Binary::And, "x & y"),
    (Binary::Or, "x | y"),
    (Binary::Xor, "x ^ y"),
    (Binary::Min, "min(x, y)"),
    (Binary::Max, "max(x, y)"),
];

/// Operation, operands and their type, results and their type, text.
type Packing = (Pack, usize, Ty, usize, Ty, &'static str);

const PACKS: [Packing; 18] = [
    (Pack::Pack2x16Float, 2, Ty::F32, 1, Ty::U32, "pack2x16float(vec2(x, y))"),
    (Pack::Pack2x16Snorm, 2, Ty::F32, 1, Ty::U32, "pack2x16snorm(vec2(x, y))"),
    (Pack::Pack2x16Unorm, 2, Ty::F32, 1, Ty::U32, "pack2x16unorm(vec2(x, y))"),
    (Pack::Pack4x8Snorm, 4, Ty::F32, 1, Ty::U32, "pack4x8snorm(vec4(x, y, z, w))"),
    (Pack::Pack4x8Unorm, 4, Ty::F32, 1, Ty::U32, "pack4x8unorm(vec4(x, y, z, w))"),
    (Pack::Pack4xI8, 4, Ty::I32, 1, Ty::U32, "pack4xI8(vec4(x, y, z, w))"),
    (Pack::Pack4xU8, 4, Ty::U32, 1, Ty::U32, "pack4xU8(vec4(x, y, z, w))"),
    (Pack::Pack4xI8Clamp, 4, Ty::I32, 1, Ty::U32, "pack4xI8Clamp(vec4(x, y, z, w))"),
    (Pack::Pack4xU8Clamp, 4, Ty::U32, 1, Ty::U32, "pack4xU8Clamp(vec4(x, y, z, w))"),
    (Pack::Unpack2x16Float, 1, Ty::U32, 2, Ty::F32, "unpack2x16float(x)"),
    (Pack::Unpack2x16Snorm, 1, Ty::U32, 2, Ty::F32, "unpack2x16snorm(x)"),
    (Pack::Unpack2x16Unorm, 1, Ty::U32, 2, Ty::F32, "unpack2x16unorm(x)"),
    (Pack::Unpack4x8Snorm, 1, Ty::U32, 4, Ty::F32, "unpack4x8snorm(x)"),
    (Pack::Unpack4x8Unorm, 1, Ty::U32, 4, Ty::F32, "unpack4x8unorm(x)"),
    (Pack::Unpack4xI8, 1, Ty::U32, 4, Ty::I32, "unpack4xI8(x)"),
    (Pack::Unpack4xU8, 1, Ty::U32, 4, Ty::U32, "unpack4xU8(x)"),
    (Pack::Dot4I8Packed, 2, Ty::U32, 1, Ty::I32, "dot4I8Packed(x, y)"),
    (Pack::Dot4U8Packed, 2, Ty::U32, 1, Ty::U32, "dot4U8Packed(x, y)"),
];

/// The name of a type in WGSL.
pub fn wgsl(ty: Ty) -> &'static str {
    match ty {
        Ty::F32 => "f32",
        Ty::F16 => "f16",
        Ty::I32 => "i32",
        Ty::U32 => "u32",
        Ty::Bool => "bool",
    }
}

fn case(op: Operation, ty: Ty, args: Vec<Ty>, (result, results): (Ty, usize), text: &str) -> Case {
    let name = format!("{} {text}", wgsl(ty));
    Case { name, op, ty, args, result, results, text: text.into() }
}

/// Every case; those of f16 too, if there is such a type.
pub fn cases(f16: bool) -> Vec<Case> {
    let mut all = Vec::new();
    for ty in [Ty::F32, Ty::F16].into_iter().take(if f16 { 2 } else { 1 }) {
        floats(ty, &mut all);
    }
    for ty in [Ty::I32, Ty::U32] {
        integers(ty, &mut all);
    }
    let bool2 =
        [(Binary::Eq, "x == y"), (Binary::Ne, "x != y"), (Binary::And, "x & y"), (Binary::Or, "x | y")];
    for (op, text) in bool2.into_iter().chain([(Binary::And, "x && y"), (Binary::Or, "x || y")]) {
        all.push(case(Operation::Binary(op), Ty::Bool, vec![Ty::Bool; 2], (Ty::Bool, 1), text));
    }
    all.push(case(Operation::Unary(Unary::Not), Ty::Bool, vec![Ty::Bool], (Ty::Bool, 1), "!x"));
    for ty in [Ty::F32, Ty::I32, Ty::U32] {
        all.push(case(Operation::Select, ty, vec![ty, ty, Ty::Bool], (ty, 1), "select(x, y, z)"));
    }
    for (op, n, ty, results, result, text) in PACKS {
        all.push(case(Operation::Pack(op), ty, vec![ty; n], (result, results), text));
    }
    let types = [Ty::F32, Ty::F16, Ty::I32, Ty::U32, Ty::Bool];
    for (from, to) in types.into_iter().flat_map(|from| types.map(|to| (from, to))) {
        if from != to && (f16 || (from != Ty::F16 && to != Ty::F16)) {
            all.push(case(Operation::Convert(to), from, vec![from], (to, 1), &format!("{}(x)", wgsl(to))));
        }
    }
    all
}

fn floats(ty: Ty, all: &mut Vec<Case>) {
    for (op, text) in FLOAT1 {
        if op != Unary::QuantizeToF16 || ty == Ty::F32 {
            all.push(case(Operation::Unary(op), ty, vec![ty], (ty, 1), text));
        }
    }
    let exponent = Operation::Unary(Unary::FrexpExponent);
    all.push(case(exponent, ty, vec![ty], (Ty::I32, 1), "frexp(x).exp"));
    for (op, text) in FLOAT2 {
        all.push(case(Operation::Binary(op), ty, vec![ty; 2], (ty, 1), text));
    }
    for (op, text) in COMPARE {
        all.push(case(Operation::Binary(op), ty, vec![ty; 2], (Ty::Bool, 1), text));
    }
    let ldexp = Operation::Binary(Binary::Ldexp);
    all.push(case(ldexp, ty, vec![ty, Ty::I32], (ty, 1), "ldexp(x, y)"));
    for (op, text) in FLOAT3 {
        all.push(case(Operation::Ternary(op), ty, vec![ty; 3], (ty, 1), text));
    }
    dots(ty, all);
}

fn dots(ty: Ty, all: &mut Vec<Case>) {
    for (n, text) in [
        (2, "dot(vec2(x, y), vec2(z, w))"),
        (3, "dot(vec3(x, y, z), vec3(w, p, q))"),
        (4, "dot(vec4(x, y, z, w), vec4(p, q, r, s))"),
    ] {
        all.push(case(Operation::Dot(n), ty, vec![ty; 2 * n], (ty, 1), text));
    }
}

fn integers(ty: Ty, all: &mut Vec<Case>) {
    for (op, text) in INT1 {
        if op != Unary::Neg || ty == Ty::I32 {
            all.push(case(Operation::Unary(op), ty, vec![ty], (ty, 1), text));
        }
    }
    if ty == Ty::I32 {
        all.push(case(Operation::Unary(Unary::Sign), ty, vec![ty], (ty, 1), "sign(x)"));
    }
    for (op, text) in INT2 {
        all.push(case(Operation::Binary(op), ty, vec![ty; 2], (ty, 1), text));
    }
    for (op, text) in COMPARE {
        all.push(case(Operation::Binary(op), ty, vec![ty; 2], (Ty::Bool, 1), text));
    }
    for (op, text) in [(Binary::Shl, "x << y"), (Binary::Shr, "x >> y")] {
        all.push(case(Operation::Binary(op), ty, vec![ty, Ty::U32], (ty, 1), text));
    }
    let clamp = Operation::Ternary(Ternary::Clamp);
    all.push(case(clamp, ty, vec![ty; 3], (ty, 1), "clamp(x, y, z)"));
    let extract = Operation::Ternary(Ternary::ExtractBits);
    all.push(case(extract, ty, vec![ty, Ty::U32, Ty::U32], (ty, 1), "extractBits(x, y, z)"));
    let insert = Operation::Pack(Pack::InsertBits);
    all.push(case(insert, ty, vec![ty, ty, Ty::U32, Ty::U32], (ty, 1), "insertBits(x, y, z, w)"));
    dots(ty, all);
}

const FLOATS: [f32; 40] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.0,
    2.5,
    -2.5,
    3.0,
    0.1,
    -0.1,
    1e-40,
    -1e-44,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    65504.0,
    65519.0,
    65520.0,
    -70000.0,
    6.1e-5,
    5.96e-8,
    3.0e-8,
    3.140_625,
    3.141_592_5,
    -1.570_796_4,
    88.7,
    -87.5,
    9.0,
    127.0,
    8_388_607.5,
    16_777_217.0,
    2_147_483_648.0,
    -2_147_483_648.0,
    4_294_967_296.0,
    1e20,
    -1e-20,
];

const WORDS: [u32; 16] =
    [0, 1, 2, 7, 15, 16, 31, 32, 33, 127, 128, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, u32::MAX - 1, u32::MAX];

fn random(ty: Ty, rng: &mut Rng) -> u32 {
    let bits = rng.next_u64() as u32;
    let float = match rng.below(4) {
        0 => (rng.signed() * 1.5) as f32,
        1 => (rng.signed() * 20.0) as f32,
        2 => (rng.below(1024) as f32 - 512.0) / 16.0,
        // Any finite number.
        _ => f32::from_bits(if bits & 0x7f80_0000 == 0x7f80_0000 { bits & 0xbfff_ffff } else { bits }),
    };
    match ty {
        Ty::F32 => float.to_bits(),
        Ty::F16 => half(float),
        Ty::Bool => (bits & 1).wrapping_neg(),
        _ if rng.below(3) == 0 => rng.below(40) as u32,
        _ => bits,
    }
}

/// The f32 of the nearest finite f16.
fn half(x: f32) -> u32 {
    half::f16::from_f32(x.clamp(-65504.0, 65504.0)).to_f32().to_bits()
}

fn edges(ty: Ty) -> Vec<u32> {
    match ty {
        Ty::F32 => FLOATS.map(f32::to_bits).into(),
        Ty::F16 => FLOATS.map(half).into(),
        Ty::Bool => vec![0, u32::MAX],
        _ => WORDS.into(),
    }
}

/// `n` operands of each kind: edges with edges, and random ones.
pub fn operands(case: &Case, n: usize) -> Vec<Vec<u32>> {
    let mut rng = Rng::new(Rng::hash(&case.name));
    let edges: Vec<_> = case.args.iter().map(|ty| edges(*ty)).collect();
    let mut rows = vec![Vec::with_capacity(n); case.args.len()];
    for i in 0..n {
        // The first two operands' edges meet first, in every pair that there is.
        let (first, second) = (edges[0].len(), edges.get(1).map_or(1, Vec::len));
        for (k, row) in rows.iter_mut().enumerate() {
            let edge = match k {
                0 => edges[0][i / second % first],
                1 => edges[1][i % second],
                _ => edges[k][rng.below(edges[k].len() as u64) as usize],
            };
            let word = random(case.args[k], &mut rng);
            let near = rng.below(8) == 0;
            row.push(if i < first * second || near { edge } else { word });
        }
        // Operands that cancel, or nearly so.
        if i % 7 == 6 && case.args.len() > 1 && case.args[0] == Ty::F32 && case.args[1] == Ty::F32 {
            let x = f32::from_bits(rows[0][i]);
            rows[1][i] = (x * (1.0 + rng.below(4) as f32 * f32::EPSILON)).to_bits();
            if !f32::from_bits(rows[1][i]).is_finite() {
                rows[1][i] = x.to_bits();
            }
        }
    }
    rows
}

//! Chains: elementwise work that rides along in another kernel, after its load or before its store.

use crate::dtype::DType;
use crate::op::{Attr, Binary, Unary};

/// How a chain's second operand lies over the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// One row `[C]`, used for every row.
    Row,
    /// One element for each row, used for all of it.
    Column,
    /// A whole tensor of the result's shape.
    Full,
}

/// One link of a chain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Link {
    /// A function of the element, with the attributes it takes.
    Unary(Unary, [Option<Attr>; 2]),
    /// A function of the element and of another tensor's.
    Binary {
        /// The function.
        op: Binary,
        /// How the other tensor lies.
        side: Side,
        /// The other tensor's type.
        dtype: DType,
        /// Whether the other tensor is the first operand.
        swapped: bool,
    },
}

/// Elementwise work, in order.
pub type Chain = Vec<Link>;

/// The WGSL of a chain as `fn apply4_<hook>(v, r, c4)`: `v` holds elements `4·c4 … 4·c4+3` of row `r`.
///
/// Its operands are bound as `<hook>0`, `<hook>1`, …; their row strides and offsets are the params
/// `<hook>0_R` and `<hook>0_offset`, in groups of four, or in elements for a column. The numbers of
/// link `i` are the params `<hook>_number<i>_0` and `<hook>_number<i>_1`.
pub(crate) fn wgsl(hook: &str, chain: &[Link]) -> String {
    let mut text =
        format!("fn apply4_{hook}(value: vec4<f32>, r: u32, c4: u32) -> vec4<f32> {{\n    var v = value;\n");
    let mut operand = 0;
    for (i, link) in chain.iter().enumerate() {
        match *link {
            Link::Unary(f, attrs) => text += &unary(f, attrs, &format!("p.{hook}_number{i}")),
            Link::Binary { op, side, swapped, .. } => {
                let name = format!("{hook}{operand}");
                let at = format!("p.{name}_offset + r * p.{name}_R");
                let other = if side == Side::Column {
                    text += &format!("    let at{operand} = {at};\n");
                    format!("vec4<f32>(load4_{name}(at{operand} >> 2u)[at{operand} & 3u])")
                } else {
                    format!("load4_{name}({at} + c4)")
                };
                let (a, b) = if swapped { (other.as_str(), "v") } else { ("v", other.as_str()) };
                text += &format!("    v = {};\n", binary(op, a, b));
                operand += 1;
            }
        }
    }
    text + "    return v;\n}\n"
}

fn unary(f: Unary, attrs: [Option<Attr>; 2], number: &str) -> String {
    match f {
        Unary::Scale => format!("    v *= {number}_0;\n"),
        Unary::Square => "    v *= v;\n".into(),
        Unary::Offset => format!("    v += {number}_0;\n"),
        Unary::Clamp => {
            format!("    v = clamp(v, vec4<f32>({number}_0), vec4<f32>({number}_1));\n")
        }
        Unary::Elu | Unary::LeakyRelu => format!("    v = {}(v, {number}_0);\n", function(f)),
        Unary::Cast => match cast_to(attrs).integer_range() {
            Some((low, high)) => {
                format!("    v = clamp(trunc(v), vec4<f32>({low:.1}), vec4<f32>({high:.1}));\n")
            }
            None => String::new(),
        },
        _ => format!("    v = {}(v);\n", function(f)),
    }
}

fn binary(op: Binary, a: &str, b: &str) -> String {
    let truth = |sign: &str| format!("select(vec4<f32>(0.0), vec4<f32>(1.0), {a} {sign} {b})");
    match op {
        Binary::Add => format!("{a} + {b}"),
        Binary::Sub => format!("{a} - {b}"),
        Binary::Mul => format!("{a} * {b}"),
        Binary::Div => format!("{a} / {b}"),
        Binary::Pow => format!("power({a}, {b})"),
        Binary::Minimum => format!("min({a}, {b})"),
        Binary::Maximum => format!("max({a}, {b})"),
        Binary::Equal => truth("=="),
        Binary::Less => truth("<"),
        Binary::LessEqual => truth("<="),
        Binary::Greater => truth(">"),
        Binary::GreaterEqual => truth(">="),
    }
}

/// The type that a cast makes: its attribute is the place in [`DType::ALL`].
pub(crate) fn cast_to(attrs: [Option<Attr>; 2]) -> DType {
    match attrs[0] {
        Some(Attr::U32(i)) => DType::ALL.get(i as usize).copied().unwrap_or(DType::F32),
        _ => DType::F32,
    }
}

/// The params that [`wgsl`] reads, with their WGSL types.
pub(crate) fn params(hook: &str, chain: &[Link]) -> Vec<(String, &'static str)> {
    let mut out = Vec::new();
    let mut operand = 0;
    for (i, link) in chain.iter().enumerate() {
        match link {
            Link::Unary(f, _) => {
                out.extend((0..f.numbers().len()).map(|j| (format!("{hook}_number{i}_{j}"), "f32")));
            }
            Link::Binary { .. } => {
                out.push((format!("{hook}{operand}_offset"), "u32"));
                out.push((format!("{hook}{operand}_R"), "u32"));
                operand += 1;
            }
        }
    }
    out
}

/// The types of a chain's operands, in order.
pub(crate) fn operands(chain: &[Link]) -> Vec<DType> {
    chain
        .iter()
        .filter_map(|l| match l {
            Link::Binary { dtype, .. } => Some(*dtype),
            Link::Unary(..) => None,
        })
        .collect()
}

/// How a chain's operands lie, in order.
pub(crate) fn sides(chain: &[Link]) -> impl Iterator<Item = Side> {
    chain.iter().filter_map(|l| match l {
        Link::Binary { side, .. } => Some(*side),
        Link::Unary(..) => None,
    })
}

/// The name in `shaders/lib/` of a function of one operand.
const fn function(f: Unary) -> &'static str {
    match f {
        Unary::Relu => "relu",
        Unary::Gelu => "gelu",
        Unary::GeluTanh => "gelu_tanh",
        Unary::Silu => "silu",
        Unary::Sigmoid => "sigmoid",
        Unary::Tanh => "tanh_",
        Unary::Softplus => "softplus",
        Unary::Neg => "-",
        Unary::Abs => "abs",
        Unary::Sign => "sign",
        Unary::Exp => "exp_",
        Unary::Log => "log_",
        Unary::Sqrt => "sqrt_",
        Unary::Rsqrt => "inverseSqrt",
        Unary::Reciprocal => "1.0 / ",
        Unary::Erf => "erf",
        Unary::Floor => "floor",
        Unary::Ceil => "ceil",
        Unary::Round => "round",
        Unary::RoundAway => "round_away",
        Unary::Elu => "elu",
        Unary::LeakyRelu => "leaky_relu",
        Unary::Square | Unary::Scale | Unary::Offset | Unary::Clamp | Unary::Cast => "",
    }
}

//! Chains: elementwise work that rides along in another kernel, after its load or before its store.

use crate::dtype::DType;
use crate::op::{Attr, Binary, Unary};

/// How a chain's second operand lies over the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// One row `[C]`, used for every row.
    Row,
    /// A whole tensor of the result's shape.
    Full,
}

/// One link of a chain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Link {
    /// A function of the element. `Scale` carries its factor.
    Unary(Unary, Option<Attr>),
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
/// Its operands are bound as `<hook>0`, `<hook>1`, …; their row strides (in groups of four; 0 for a
/// row used throughout) and offsets are the params `<hook>0_R` and `<hook>0_offset`; the factor of
/// link `i`, if it is a scale, is the param `<hook>_scale<i>`.
pub(crate) fn wgsl(hook: &str, chain: &[Link]) -> String {
    let mut text =
        format!("fn apply4_{hook}(value: vec4<f32>, r: u32, c4: u32) -> vec4<f32> {{\n    var v = value;\n");
    let mut operand = 0;
    for (i, link) in chain.iter().enumerate() {
        match *link {
            Link::Unary(Unary::Scale, _) => text += &format!("    v *= p.{hook}_scale{i};\n"),
            Link::Unary(f, _) => text += &format!("    v = {}(v);\n", function(f)),
            Link::Binary { op, swapped, .. } => {
                let other =
                    format!("load4_{hook}{operand}(p.{hook}{operand}_offset + r * p.{hook}{operand}_R + c4)");
                let sign = ["+", "-", "*", "/"][op as usize];
                text += &if swapped {
                    format!("    v = {other} {sign} v;\n")
                } else {
                    format!("    v = v {sign} {other};\n")
                };
                operand += 1;
            }
        }
    }
    text + "    return v;\n}\n"
}

/// The params that [`wgsl`] reads, with their WGSL types.
pub(crate) fn params(hook: &str, chain: &[Link]) -> Vec<(String, &'static str)> {
    let mut out = Vec::new();
    let mut operand = 0;
    for (i, link) in chain.iter().enumerate() {
        match link {
            Link::Unary(Unary::Scale, _) => out.push((format!("{hook}_scale{i}"), "f32")),
            Link::Unary(..) => {}
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

/// Whether a chain calls a function of `shaders/lib/activation.wgsl`.
pub(crate) fn needs_functions(chain: &[Link]) -> bool {
    chain.iter().any(|l| matches!(l, Link::Unary(u, _) if *u != Unary::Scale))
}

const fn function(f: Unary) -> &'static str {
    match f {
        Unary::Relu => "relu",
        Unary::Gelu => "gelu",
        Unary::GeluTanh => "gelu_tanh",
        Unary::Silu => "silu",
        Unary::Sigmoid => "sigmoid",
        Unary::Tanh => "tanh_",
        Unary::Scale => "scale",
    }
}

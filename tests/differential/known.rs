//! Where devices give what WGSL does not accept. In each, the text of WGSL is clear, and the device, or
//! the translation to its language, is wrong; figures are of the adapters that scripts/drivers installs.

use std::fmt;

/// Who computed something.
#[derive(Debug, Clone)]
pub struct Device {
    pub backend: String,
    pub name: String,
    pub driver: String,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.backend, self.name, self.driver)
    }
}

/// A disagreement.
pub struct Known {
    /// Who: parts of the names of backends, and of adapters.
    pub on: &'static [(&'static str, &'static str)],
    /// The cases.
    pub cases: &'static [&'static str],
    /// On which operands, with which result.
    pub when: fn(&[u32], u32) -> bool,
    /// What WGSL says, and what happens instead.
    #[allow(dead_code, reason = "for readers")]
    pub why: &'static str,
}

impl Known {
    /// Whether it is about a device and a case.
    pub fn is_about(&self, device: &Device, case: &str) -> bool {
        let on = |(backend, name): &(&str, &str)| device.backend == *backend && device.name.contains(name);
        self.on.iter().any(on) && self.cases.contains(&case)
    }
}

const GL: &[(&str, &str)] = &[("gl", "llvmpipe")];
const SWIFTSHADER: &[(&str, &str)] = &[("vulkan", "SwiftShader")];

pub const ALL: &[Known] = &[
    Known {
        on: &[("vulkan", "llvmpipe"), ("gl", "llvmpipe"), ("vulkan", "SwiftShader")],
        cases: &["f32 pack2x16snorm(vec2(x, y))"],
        when: |args, _| negative_half(args, 32767.0),
        why: "floor(0.5 + 32767 * x) takes a negative half upwards; Vulkan and OpenGL pack by a round() \
              that may take it away from zero, or to the even neighbour, and here it does",
    },
    Known {
        on: &[("vulkan", "llvmpipe"), ("gl", "llvmpipe"), ("vulkan", "SwiftShader")],
        cases: &["f32 pack4x8snorm(vec4(x, y, z, w))"],
        when: |args, _| negative_half(args, 127.0),
        why: "as pack2x16snorm",
    },
    Known {
        on: &[("gl", "llvmpipe"), ("vulkan", "SwiftShader")],
        cases: &["f32 mix(x, y, z)"],
        when: mixed_otherwise,
        why: "its accuracy is that of x * (1 - z) + y * z; x + (y - x) * z, which is computed, equals x at \
              z = 0 but not y at z = 1, and no reordering of operations makes the one of the other",
    },
    Known {
        on: SWIFTSHADER,
        cases: &["f32 bool(x)"],
        when: |args, result| f32::from_bits(args[0]).is_subnormal() && result == 0,
        why: "only the operations in the table of accuracies may flush, and conversions are not among them; \
              naga converts by x != 0, a comparison, which may",
    },
    Known {
        on: GL,
        cases: &["f32 asin(x)"],
        when: |args, result| (f32::from_bits(args[0]).asin() - f32::from_bits(result)).abs() < 2.5e-4,
        why: "6.81e-5, or what 4096 ULP of atan2 come to, is allowed; Mesa's polynomial errs by 2e-4",
    },
    Known {
        on: GL,
        cases: &["i32 x / y", "u32 x / y", "u32 x % y"],
        when: |args, _| args[1] == 0,
        why: "x / 0 is x and x % 0 is 0; naga's GLSL divides, which GLSL leaves undefined",
    },
    Known {
        on: GL,
        cases: &["i32 x % y"],
        when: |args, _| (args[0] as i32) < 0 || (args[1] as i32) <= 0,
        why: "the result has the sign of x, and x % 0 is 0; naga's GLSL takes GLSL's %, which is undefined \
              for negative operands",
    },
    Known {
        on: GL,
        cases: &["u32 abs(x)"],
        when: |args, result| result == args[0].wrapping_neg(),
        why: "abs of a u32 is itself; naga's GLSL takes it for an i32",
    },
    Known {
        on: GL,
        cases: &["f32 i32(x)"],
        when: |args, _| !(-2_147_483_648.0..2_147_483_648.0).contains(&f32::from_bits(args[0])),
        why: "what does not fit becomes the greatest or least i32 that f32 has; naga's GLSL converts, which \
              GLSL leaves undefined",
    },
    Known {
        on: GL,
        cases: &["f32 u32(x)"],
        when: |args, _| !(0.0..4_294_967_296.0).contains(&f32::from_bits(args[0])),
        why: "as i32(x)",
    },
];

/// Whether a packed number is negative and has a half as its fraction, or nearly.
fn negative_half(args: &[u32], scale: f64) -> bool {
    let halves = |word: &u32| {
        let scaled = f64::from(f32::from_bits(*word)).max(-1.0) * scale;
        scaled < 0.0 && ((scaled - 0.5) - (scaled - 0.5).round()).abs() < 0.002
    };
    args.iter().any(halves)
}

fn mixed_otherwise(args: &[u32], result: u32) -> bool {
    let [x, y, z] = [args[0], args[1], args[2]].map(f32::from_bits);
    let flushed = |x: f32| if x.is_subnormal() { 0.0 } else { x };
    let (got, sum) = (f32::from_bits(result), x + flushed(y - x) * z);
    // A product that is flushed is less than the least normal number.
    let near = sum.abs().max(x.abs()) * 2.0 * f32::EPSILON + f32::MIN_POSITIVE;
    (got - sum).abs() <= near || (!sum.is_finite() && !got.is_finite())
}

/// Cases that are refused before they reach a device: naga makes the exponent of `frexp` of f16 an `i16`,
/// a type that WGSL has not.
const REFUSED: &[&str] = &["f16 frexp(x).fract", "f16 frexp(x).exp"];

/// Whether a case is known to be refused.
pub fn is_refused(device: &Device, case: &str) -> bool {
    ["vulkan", "gl"].contains(&&*device.backend) && REFUSED.contains(&case)
}

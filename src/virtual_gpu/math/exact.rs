//! Operations on numbers that are exact, but for their denormals.

/// `sign`; NaN stays.
#[inline(always)]
pub(super) fn sign(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x
    }
}

/// `min`, as WGSL words it.
#[inline(always)]
pub(super) fn min(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

/// `max`, as WGSL words it.
#[inline(always)]
pub(super) fn max(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

/// `clamp`, the first of WGSL's two formulas.
#[inline(always)]
pub(super) fn clamp(x: f32, low: f32, high: f32) -> f32 {
    min(max(x, low), high)
}

/// `x`, or `top` where it is less; NaN stays.
#[inline(always)]
pub(super) fn at_most(x: f32, top: f32) -> f32 {
    if x > top { top } else { x }
}

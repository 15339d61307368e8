// How rows are staged as f16 for cooperative matrices: times a power of two that makes the largest element one of
// 2^14 to 2^15, so that nothing overflows, and nothing but the end of the mantissa rounds.

const LEAST: f32 = 7.888609052210118e-31; // 2^-100: a row that does not reach this is all zeros
const ONE: u32 = 141u; // the exponent, as in the bits of an f32, of what the largest becomes

// The exponent of a row, as in the bits of an f32, by its largest element: it stands for 2^(exponent - ONE).
fn staged_exponent(largest: f32) -> u32 {
    return select(ONE, bitcast<u32>(largest) >> 23u, largest >= LEAST);
}

// What its elements are multiplied by.
fn staged_scale(largest: f32) -> f32 {
    return select(0.0, bitcast<f32>((127u + ONE - staged_exponent(largest)) << 23u), largest >= LEAST);
}

// Four elements as they lie in memory.
fn staged4(v: vec4<f32>) -> vec2<u32> {
    return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
}

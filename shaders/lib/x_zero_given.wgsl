// Zero points of int8 or uint8 rows: a byte for all of them, or in the first word of a row of its own.

@group(0) @binding(0) var<storage, read> x_zero: array<u32>;
const X_SIGNED: bool = true; // knob: whether they are int8

fn x_zero_at(b: u32, m: u32) -> i32 {
    let word = x_zero[p.x_zero_offset + b * p.x_zero_B + m * p.x_zero_M];
    if X_SIGNED {
        return extractBits(bitcast<i32>(word), 0u, 8u);
    }
    return i32(extractBits(word, 0u, 8u));
}

// Zero points of int8 or uint8, a byte each, or of uint4, half a byte.

@group(0) @binding(0) var<storage, read> w_zero: array<u32>;
const SIGNED: bool = true; // knob: whether they are int8
const NIBBLES: bool = false; // knob: whether they are uint4

fn zero_at(group: u32, n: u32) -> f32 {
    let at = p.w_zero_offset + n * p.w_zero_N + group * p.w_zero_K;
    if NIBBLES {
        return f32(extractBits(w_zero[at / 8u], at % 8u * 4u, 4u));
    }
    let word = w_zero[at / 4u];
    let first = at % 4u * 8u;
    if SIGNED {
        return f32(extractBits(bitcast<i32>(word), first, 8u));
    }
    return f32(extractBits(word, first, 8u));
}

// Four elements of a block of codes in planes of bits: see src/formats/packed.rs. `run` bytes in a row hold
// elements side by side, at the lowest bits of each the first `run` of them, then the next. `part_scale` is linked
// in: the scale of a part of the block, and beside it its least or, of tables, a second factor.

const AT: u32 = 2u; // knob: where the first plane begins in a block
const BITS: u32 = 8u; // knob: its bits of a code
const RUN: u32 = 32u; // knob: its bytes of a run
const HIGH_AT: u32 = 0u; // knob: likewise the second, if it has bits
const HIGH_BITS: u32 = 0u; // knob: its bits of a code
const HIGH_RUN: u32 = 1u; // knob: its bytes of a run
const PART: u32 = 32u; // knob: elements that share a scale
const ZERO: f32 = 0.0; // knob: the code of 0, where there is no least
const LEAST: bool = false; // knob: whether there is a least
const NUMBERS: u32 = 0u; // knob: codes are numbers, or stand for 1 those of e2m1, twice, 2 those of IQ4, 3 int8

fn codes4(first: u32, bits: u32, run: u32, element: u32) -> vec4<u32> {
    let each = 8u / bits;
    let below = element / run % each * bits;
    var bytes: vec4<u32>;
    if run == 1u {
        bytes = vec4<u32>(byte_at(first + element / each)) >> (vec4<u32>(0u, 1u, 2u, 3u) * bits);
    } else {
        let word = word_at(first + element / (run * each) * run + element % run);
        bytes = vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u);
    }
    return (bytes >> vec4<u32>(below)) & vec4<u32>((1u << bits) - 1u);
}

fn four_of(first: u32, element: u32) -> vec4<f32> {
    var code = codes4(first + AT, BITS, RUN, element);
    if HIGH_BITS > 0u {
        code |= codes4(first + HIGH_AT, HIGH_BITS, HIGH_RUN, element) << vec4<u32>(BITS);
    }
    let scale = part_scale(first, element / PART);
    if NUMBERS == 1u {
        let size = (vec4<u32>(0xc8643210u) >> ((code & vec4<u32>(7u)) * 4u)) & vec4<u32>(15u);
        let number = select(vec4<f32>(size), -vec4<f32>(size), code > vec4<u32>(7u));
        return number * scale.y * scale.x;
    }
    if NUMBERS == 2u {
        let odd = (code & vec4<u32>(4u)) != vec4<u32>(0u);
        let below = select(vec4<u32>(0xbfad9881u), vec4<u32>(0xf6eaddcfu), odd);
        let above = select(vec4<u32>(0x26190d01u), vec4<u32>(0x71594535u), odd);
        let word = select(below, above, code > vec4<u32>(7u));
        let highest = word << ((vec4<u32>(3u) - (code & vec4<u32>(3u))) * 8u);
        return vec4<f32>(bitcast<vec4<i32>>(highest) >> vec4<u32>(24u)) * scale.x;
    }
    if NUMBERS == 3u {
        return vec4<f32>(bitcast<vec4<i32>>(code << vec4<u32>(24u)) >> vec4<u32>(24u)) * scale.x;
    }
    if LEAST {
        return fma(vec4<f32>(code), vec4<f32>(scale.x), vec4<f32>(scale.y));
    }
    return (vec4<f32>(code) - ZERO) * scale.x;
}

// quantize_blocks    y[r] = the blocks of row r of x, one behind the other as they lie in a file
//
//   scale  [R, C, 4]  u32      in   of each block: see quantize_blocks_scales.wgsl
//   x      [R, C]     f32 f16  in
//   y      [R, K]     u8       out
//
// An invocation owns four bytes of y, which may belong to two blocks, and makes them one by one: a block's scale
// and least, then its codes, in planes of bits as src/formats/packed.rs has them, or the digits of TQ1_0.

alias x_group = vec4<f32>; // knob: four elements of x
const LANES: u32 = 64u; // invocations in a workgroup
const ELEMENTS: u32 = 32u; // knob: elements of a block
const BYTES: u32 = 34u; // knob: and its bytes
const HOW: u32 = 0u; // knob: 0 nearest, 1 around zero, 2 from the least, 3 ternary, 4 e2m1
const PER: f32 = 127.0; // knob: of those around zero the code of 0, of those from the least the last code
const D_AT: u32 = 0u; // knob: where the scale lies
const D_BYTES: u32 = 2u; // knob: its bytes, and those of the least behind it
const DIGITS: bool = false; // knob: whether codes are digits of TQ1_0
const AT: u32 = 2u; // knob: where the first plane begins
const BITS: u32 = 8u; // knob: its bits of a code
const RUN: u32 = 32u; // knob: its bytes of a run
const HIGH_AT: u32 = 0u; // knob: likewise the second, if it has bits
const HIGH_BITS: u32 = 0u; // knob: its bits of a code
const HIGH_RUN: u32 = 1u; // knob: its bytes of a run

struct Params {
    R: u32, C: u32, K: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read> scale: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> x: array<x_group>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

// To the nearest whole number, halves away from 0.
fn nearest(v: f32) -> i32 {
    let whole = trunc(v);
    return i32(whole) + select(0, select(1, -1, v < 0.0), abs(v - whole) >= 0.5);
}

fn power_of_two(e: i32) -> f32 {
    return bitcast<f32>(u32(e + 127) << 23u);
}

// The number of the e2m1 that is nearest to v, twice, in units of 2^(e - 128); of two as near the smaller.
fn e2m1(v: f32, e: u32) -> u32 {
    let by = 128 - i32(e);
    let a = abs(v) * power_of_two(by / 2) * power_of_two(by - by / 2);
    let small = u32(a > 0.5) + u32(a > 1.5) + u32(a > 2.5) + u32(a > 3.5);
    let code = small + u32(a > 5.0) + u32(a > 7.0) + u32(a > 10.0);
    return code + select(0u, 8u, v < 0.0 && code > 0u);
}

// The code of an element of a block, which begins at group `first` of x.
fn code_of(first: u32, element: u32, s: vec4<u32>) -> u32 {
    let v = load4_x(first + element / 4u)[element % 4u];
    let inverse = bitcast<f32>(s.y);
    if HOW == 1u {
        return u32(clamp(v * inverse + (PER + 0.5), 0.0, 2.0 * PER - 1.0));
    }
    if HOW == 2u {
        return u32(clamp((v - bitcast<f32>(s.w)) * inverse + 0.5, 0.0, PER));
    }
    if HOW == 3u {
        return u32(clamp(nearest(v * inverse), -1, 1) + 1);
    }
    if HOW == 4u {
        return e2m1(v, s.x);
    }
    return u32(clamp(nearest(v * inverse), -128, 127)) & 255u;
}

// The byte of a plane with so many codes in it, from bit `lowest` of codes on.
fn plane_byte(first: u32, at: u32, bits: u32, run: u32, lowest: u32, s: vec4<u32>) -> u32 {
    let each = 8u / bits;
    var byte = 0u;
    for (var slot = 0u; slot < each; slot++) {
        let code = code_of(first, at / run * run * each + slot * run + at % run, s) >> lowest;
        byte |= (code & ((1u << bits) - 1u)) << (slot * bits);
    }
    return byte;
}

// Five digits of base 3, the first the highest, as a fraction of 256 that is rounded up.
fn digit_byte(first: u32, at: u32, s: vec4<u32>) -> u32 {
    var element = at;
    var apart = 32u;
    var count = 5u;
    if at >= 48u {
        element = 192u + at;
        apart = 4u;
        count = 4u;
    } else if at >= 32u {
        element = 128u + at;
        apart = 16u;
    }
    var sum = 0u;
    for (var i = 0u; i < 5u; i++) {
        sum *= 3u;
        if i < count {
            sum += code_of(first, element + i * apart, s);
        }
    }
    return (sum * 256u + 242u) / 243u;
}

fn byte_of(first: u32, at: u32, s: vec4<u32>) -> u32 {
    if at - D_AT < D_BYTES { // also where that is below 0, which is large
        let half = select(s.z, s.x, at - D_AT < 2u);
        return (half >> ((at - D_AT) % 2u * 8u)) & 255u;
    }
    if DIGITS {
        return digit_byte(first, at, s);
    }
    if HIGH_BITS > 0u && at < AT {
        return plane_byte(first, at - HIGH_AT, max(HIGH_BITS, 1u), HIGH_RUN, BITS, s);
    }
    return plane_byte(first, at - AT, BITS, RUN, 0u, s);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let words = (p.K + 3u) / 4u;
    let i = (wg.y * wgs.x + wg.x) * LANES + lane;
    if i >= p.R * words {
        return;
    }
    let r = i / words;
    var word = 0u;
    for (var b = 0u; b < min(4u, p.K - i % words * 4u); b++) {
        let at = i % words * 4u + b;
        let block = at / BYTES;
        let first = p.x_offset + r * p.x_R + block * (ELEMENTS / 4u);
        word |= byte_of(first, at % BYTES, scale[r * (p.C / ELEMENTS) + block]) << (b * 8u);
    }
    y[p.y_offset + r * p.y_R + i % words] = word;
}

// quantize_blocks, first part    scale[block] = the scale of 32 or 256 neighbours in a row of x, and what follows
//
//   x      [R, C]     f32 f16  in
//   scale  [R, C, 4]  u32      out  of a block: its scale as the block has it; the bits of what elements are
//                                   multiplied with; its least as f16; the bits of its least
//
// An invocation does one block, in the order of its elements: of those that are as far from 0 the first counts.

alias x_group = vec4<f32>; // knob: four elements of x
const LANES: u32 = 64u; // invocations in a workgroup
const ELEMENTS: u32 = 32u; // knob: elements of a block
const HOW: u32 = 0u; // knob: 0 nearest, 1 around zero, 2 from the least, 3 ternary, 4 e2m1
const PER: f32 = 127.0; // knob: the number that the scale is a fraction of, of a range or of the farthest element

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> scale: array<vec4<u32>>;
@group(1) @binding(0) var<uniform> p: Params;

// The exponent of MXFP4: floor(log2(largest)) - 2, where log2 is rounded to f32 as whoever defined the format has
// it. Below a power of two that makes it whole, for as many numbers as log2 is long.
fn exponent_of(largest: f32) -> u32 {
    let bits = bitcast<u32>(largest);
    let next = i32(bits >> 23u) - 126;
    var length = f32(firstLeadingBit(max(u32(abs(next)), 1u)));
    if next > 0 && (next & (next - 1)) == 0 {
        length -= 1.0;
    }
    let below = f32(0x800000u - (bits & 0x7fffffu));
    let up = next != 0 && below < 0.6931472 * exp2(length);
    return u32(clamp(next - 1 + select(0, 1, up) + 125, 0, 254));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let blocks = p.C / ELEMENTS;
    let i = (wg.y * wgs.x + wg.x) * LANES + lane;
    if i >= p.R * blocks {
        return;
    }
    let first = p.x_offset + i / blocks * p.x_R + i % blocks * (ELEMENTS / 4u);
    var farthest = 0.0;
    var low = load4_x(first).x;
    var high = low;
    for (var k4 = 0u; k4 < ELEMENTS / 4u; k4++) {
        let v = load4_x(first + k4);
        //@unroll k 0..4
        for (var k = 0u; k < 4u; k++) {
            farthest = select(farthest, v[k], abs(v[k]) > abs(farthest));
            low = min(low, v[k]);
            high = max(high, v[k]);
        }
    }
    if HOW == 4u {
        let e = select(0u, exponent_of(abs(farthest)), farthest != 0.0);
        scale[i] = vec4<u32>(e, 0u, 0u, 0u);
        return;
    }
    var d = abs(farthest) / PER;
    var sign = 0u;
    if HOW == 1u {
        // Of a block of zeros too, the scale has the other sign than the element.
        d = farthest * (-1.0 / PER);
        sign = select(0x80000000u, 0u, farthest < 0.0);
    }
    if HOW == 2u {
        d = (high - low) / PER;
    }
    if HOW == 3u {
        d = abs(farthest); // a quotient may be off, also by 1
    }
    // A device may give a zero any sign.
    let bits = (bitcast<u32>(d) & 0x7fffffffu) | sign;
    let inverse = select(0.0, 1.0 / d, abs(d) >= 1.1754944e-38);
    scale[i] = vec4<u32>(half_of(bits), bitcast<u32>(inverse), half_of(bitcast<u32>(low)), bitcast<u32>(low));
}

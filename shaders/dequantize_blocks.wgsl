// dequantize_blocks    y[r, c] = post(the number that element c of the blocks in row r stands for)
//
//   blocks  [R, K]  u8       in   blocks as they lie in a file, one behind the other
//   y       [R, C]  f32 f16  out  groups of four
//
// An invocation owns four elements of y: neighbours in a block, whatever the format, have the same scale. Blocks
// begin at any byte, so words are put together from two; no word is read of which nothing is needed. How four
// elements are read is linked in, by format. All products are exact in f32, and at most one sum is rounded.

alias y_group = vec4<f32>; // knob: four elements of y
const LANES: u32 = 64u; // invocations in a workgroup
const ELEMENTS: u32 = 32u; // knob: elements of a block
const BYTES: u32 = 34u; // knob: and its bytes

struct Params {
    R: u32, C: u32,
    blocks_offset: u32, blocks_R: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read> blocks: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

fn byte_at(at: u32) -> u32 {
    return (blocks[at / 4u] >> (at % 4u * 8u)) & 255u;
}

// Two bytes, at an even place.
fn short_at(at: u32) -> u32 {
    return (blocks[at / 4u] >> (at % 4u * 8u)) & 65535u;
}

fn half_at(at: u32) -> f32 {
    return f16_value(short_at(at));
}

// Four bytes, at any place.
fn word_at(at: u32) -> u32 {
    let below = at % 4u * 8u;
    var word = blocks[at / 4u] >> below;
    if below > 0u {
        word |= blocks[at / 4u + 1u] << (32u - below);
    }
    return word;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let groups = p.C / 4u;
    let i = (wg.y * wgs.x + wg.x) * LANES + lane;
    if i >= p.R * groups {
        return;
    }
    let r = i / groups;
    let c4 = i % groups;
    let first = (p.blocks_offset + r * p.blocks_R) * 4u + c4 * 4u / ELEMENTS * BYTES;
    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(four_of(first, c4 * 4u % ELEMENTS), r, c4));
}

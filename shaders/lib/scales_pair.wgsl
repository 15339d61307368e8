// Scales and leasts of blocks of 32: an f16 each.

@group(0) @binding(0) var<storage, read> w_scale: array<u32>;

fn block_of(block: u32, n: u32) -> vec2<f32> {
    let word = w_scale[unit_of(block, p.K / 32u, n)];
    return vec2<f32>(f16_value(word & 0xffffu), f16_value(word >> 16u));
}

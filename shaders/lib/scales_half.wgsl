// Scales of blocks of 32: an f16 each.

@group(0) @binding(0) var<storage, read> w_scale: array<u32>;

fn block_of(block: u32, n: u32) -> vec2<f32> {
    let i = unit_of(block, p.K / 32u, n);
    return scaled(f16_value(w_scale[i >> 1u] >> ((i & 1u) * 16u)));
}

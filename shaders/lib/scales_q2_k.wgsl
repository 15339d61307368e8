// GGUF Q2_K: of each block of 256 along K sixteen bytes of s and m, 4 bits each, for parts of 16; behind those of
// all blocks a word of two f16 d and dmin for each. The products d·s and dmin·m are exact.

@group(0) @binding(0) var<storage, read> w_scale: array<w_scale_word>;

fn block_of(block: u32, n: u32, r: u32) -> vec2<f32> {
    let blocks = p.K / 256u;
    let word = field_w_scale(unit_of(block / 4u, blocks * 4u, n), r, 32u) >> (block % 4u * 8u);
    let halves = field_w_scale(p.N * blocks * 4u + unit_of(block / 16u, blocks, n), r, 32u);
    let m = f32((word >> 4u) & 15u);
    return vec2<f32>(f16_value(halves & 0xffffu) * f32(word & 15u), -f16_value(halves >> 16u) * m);
}

// Something of the scales that lie together in one run, `whole`, of column n, for whoever wants them in a cache.
fn touch_scales(whole: u32, n: u32, words: u32) -> u32 {
    return word_w_scale(unit_of(whole * 4u, p.K / 64u, n) + words);
}

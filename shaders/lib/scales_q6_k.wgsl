// GGUF Q6_K: of each block of 256 along K sixteen int8 s for parts of 16; behind those of all blocks an f16 d for
// each. The product d·s is exact.

@group(0) @binding(0) var<storage, read> w_scale: array<w_scale_word>;

fn block_of(block: u32, n: u32, r: u32) -> vec2<f32> {
    let blocks = p.K / 256u;
    let word = field_w_scale(unit_of(block / 4u, blocks * 4u, n), r, 32u);
    let s = extractBits(bitcast<i32>(word), block % 4u * 8u, 8u);
    let d = field_w_scale(p.N * blocks * 8u + unit_of(block / 16u, blocks, n), r, 16u);
    return scaled(f16_value(d) * f32(s));
}

// Something of the scales that lie together in one run, `whole`, of column n, for whoever wants them in a cache.
fn touch_scales(whole: u32, n: u32, words: u32) -> u32 {
    return word_w_scale(unit_of(whole * 4u, p.K / 64u, n) + words);
}

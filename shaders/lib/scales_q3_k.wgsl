// GGUF Q3_K: of each block of 256 along K twelve bytes of s of its sixteen parts of 16, 6 bits each: the low four
// in eight bytes of nibbles, the high two in four bytes; behind those of all blocks an f16 d for each. The
// product d·(s - 32) is exact.

@group(0) @binding(0) var<storage, read> w_scale: array<w_scale_word>;

fn block_of(block: u32, n: u32, r: u32) -> vec2<f32> {
    let blocks = p.K / 256u;
    let first = block / 16u * 3u;
    let part = block % 16u;
    let shift = part % 4u * 8u;
    let low = field_w_scale(unit_of(first + part / 4u % 2u, blocks * 3u, n), r, 32u) >> (shift + part / 8u * 4u);
    let high = field_w_scale(unit_of(first + 2u, blocks * 3u, n), r, 32u) >> (shift + part / 4u * 2u);
    let s = i32((low & 15u) | ((high & 3u) << 4u)) - 32;
    let d = field_w_scale(p.N * blocks * 6u + unit_of(block / 16u, blocks, n), r, 16u);
    return scaled(f16_value(d) * f32(s));
}

// Something of the scales that lie together in one run, `whole`, of column n, for whoever wants them in a cache.
fn touch_scales(whole: u32, n: u32, words: u32) -> u32 {
    return word_w_scale(unit_of(whole * 3u, p.K / 256u * 3u, n) + words);
}

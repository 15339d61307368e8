// GGUF IQ4_XS: of each block of 256 along K two words, an f16 d and the high two bits of s of its eight parts of
// 32, then the low four. The product d·(s - 32) is exact.

@group(0) @binding(0) var<storage, read> w_scale: array<w_scale_word>;

fn block_of(block: u32, n: u32, r: u32) -> vec2<f32> {
    let first = block / 8u * 2u;
    let part = block % 8u;
    let word = field_w_scale(unit_of(first, p.K / 128u, n), r, 32u);
    let low = (field_w_scale(unit_of(first + 1u, p.K / 128u, n), r, 32u) >> (part * 4u)) & 15u;
    let high = (word >> (16u + part * 2u)) & 3u;
    return scaled(f16_value(word & 0xffffu) * f32(i32(low | (high << 4u)) - 32));
}

// Something of the scales that lie together in one run, `whole`, of column n, for whoever wants them in a cache.
fn touch_scales(whole: u32, n: u32, words: u32) -> u32 {
    return word_w_scale(unit_of(whole * 2u, p.K / 128u, n) + words);
}

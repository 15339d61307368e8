// Scales and leasts of blocks of 32: an f16 each.

@group(0) @binding(0) var<storage, read> w_scale: array<w_scale_word>;

fn block_of(block: u32, n: u32, r: u32) -> vec2<f32> {
    let word = field_w_scale(unit_of(block, p.K / 32u, n), r, 32u);
    return vec2<f32>(f16_value(word & 0xffffu), f16_value(word >> 16u));
}

// Something of the scales that lie together in one run, `whole`, of column n, for whoever wants them in a cache.
fn touch_scales(whole: u32, n: u32, words: u32) -> u32 {
    return word_w_scale(unit_of(whole, p.K / 32u, n) + words);
}

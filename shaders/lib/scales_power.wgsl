// Scales of blocks of 32: powers of two, 2^(e - 128), a byte each. The two that f32 has as denormal numbers only
// are made of two factors, since they might be flushed to zero.

@group(0) @binding(0) var<storage, read> w_scale: array<w_scale_word>;

fn block_of(block: u32, n: u32, r: u32) -> vec2<f32> {
    let e = field_w_scale(unit_of(block, p.K / 32u, n), r, 8u);
    let rest = select(select(1.0, 0.5, e == 1u), 0.25, e == 0u);
    return vec2<f32>(bitcast<f32>((max(e, 2u) - 1u) << 23u), rest);
}

// Something of the scales that lie together in one run, `whole`, of column n, for whoever wants them in a cache.
fn touch_scales(whole: u32, n: u32, words: u32) -> u32 {
    return word_w_scale(unit_of(whole, p.K / 32u, n) / 4u + words);
}

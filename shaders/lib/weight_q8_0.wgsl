// GGUF Q8_0: blocks of 32 along K, an f16 scale for each. Values and scales lie in panels of columns, so
// that neighbouring columns read neighbouring words.

@group(0) @binding(0) var<storage, read> w_scale: array<w_scale_word>;

fn block_of(block: u32, n: u32, r: u32) -> vec2<f32> {
    let i = n / PANEL * PANEL * (p.K / 32u) + block * w_step(n) + n % PANEL;
    return vec2<f32>(f16_value(field_w_scale(i, r, 16u)), 0.0);
}

// Something of the scales of a block of column n, for whoever wants them in a cache.
fn touch_scales(whole: u32, n: u32, words: u32) -> u32 {
    return word_w_scale((n / PANEL * PANEL * (p.K / 32u) + whole * w_step(n)) / 2u + words);
}

fn load_w(i: u32, block: vec2<f32>) -> vec4<f32> {
    return weight4(word_w(i), block);
}

fn weight4(word: u32, block: vec2<f32>) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word)) * block.x;
}

// Something of what is in memory there, for whoever wants it in a cache.
fn touch_w(i: u32) -> u32 {
    return word_w(i);
}

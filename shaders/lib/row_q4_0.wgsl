// Rows of tensor t as CacheForm::Q4_0: half a word for four codes, and behind all of them an f16 for each 32. The
// host writes the tensor's name for `t`.

const t_scaled: bool = true;
const t_words: u32 = 3u; // knob: words of a row's codes

fn scale_t(row: u32, block: u32) -> f32 {
    let both = t[row + t_words + block / 2u];
    return f16_value((both >> (block % 2u * 16u)) & 0xffffu);
}

fn four_t(row: u32, c4: u32, scale: f32) -> vec4<f32> {
    let word = t[row + c4 / 2u];
    let shifts = vec4<u32>(0u, 4u, 8u, 12u) + vec4<u32>(c4 % 2u * 16u);
    return (vec4<f32>((vec4<u32>(word) >> shifts) & vec4<u32>(15u)) - 8.0) * scale;
}

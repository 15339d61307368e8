// Rows of tensor t as CacheForm::Q8_0: a word for four codes, and behind all of them an f16 for each 32. The host
// writes the tensor's name for `t`.

const t_scaled: bool = true;
const t_words: u32 = 5u; // knob: words of a row's codes

fn scale_t(row: u32, block: u32) -> f32 {
    let both = t[row + t_words + block / 2u];
    return f16_value((both >> (block % 2u * 16u)) & 0xffffu);
}

fn four_t(row: u32, c4: u32, scale: f32) -> vec4<f32> {
    let word = t[row + c4];
    return vec4<f32>(unpack4xI8(word)) * scale;
}

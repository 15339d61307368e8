// Reading tensor t: four bf16 are two words, each the upper half of an f32. The host writes the tensor's name for
// `t`.

fn load4_t(i: u32) -> vec4<f32> {
    let words = t[i];
    let bits = vec4<u32>(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u);
    return bitcast<vec4<f32>>(bits);
}

// Reading tensor t: four uint8 are one word. The host writes the tensor's name for `t`.

fn load4_t(i: u32) -> vec4<f32> {
    let word = t[i];
    return vec4<f32>(unpack4xU8(word));
}

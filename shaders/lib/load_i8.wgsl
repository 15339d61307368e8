// Reading tensor t: four int8 are one word. The host writes the tensor's name for `t`.

fn load4_t(i: u32) -> vec4<f32> {
    let word = t[i];
    return vec4<f32>(unpack4xI8(word));
}

// Reading tensor t: four f16 are two words. Packed, so that no device needs the type f16.
// The host writes the tensor's name for `t`.

fn load4_t(i: u32) -> vec4<f32> {
    let words = t[i];
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

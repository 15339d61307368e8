// Reading tensor t: four f32 are one vec4. The host writes the tensor's name for `t`.

fn load4_t(i: u32) -> vec4<f32> {
    return t[i];
}

// Reading tensor t: whole numbers, rounded to f32. The host writes the tensor's name for `t`.

fn load4_t(i: u32) -> vec4<f32> {
    let whole = t[i];
    return vec4<f32>(whole);
}

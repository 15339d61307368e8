// Writing tensor t: four f32 are one vec4. The host writes the tensor's name for `t`.

fn store4_t(i: u32, v: vec4<f32>) {
    t[i] = v;
}

// Reading tensor t: four uint4 are half of a word. The host writes the tensor's name for `t`.

fn load4_t(i: u32) -> vec4<f32> {
    let word = t[i / 2u];
    let shifts = vec4<u32>(0u, 4u, 8u, 12u) + vec4<u32>(i % 2u * 16u);
    return vec4<f32>((vec4<u32>(word) >> shifts) & vec4<u32>(15u));
}

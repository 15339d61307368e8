// Writing tensor t: four uint8 are one word, so one invocation owns them all. Values are whole
// numbers by now; those out of range saturate. The host writes the tensor's name for `t`.

fn store4_t(i: u32, v: vec4<f32>) {
    t[i] = pack4xU8(vec4<u32>(clamp(v, vec4<f32>(0.0), vec4<f32>(255.0))));
}

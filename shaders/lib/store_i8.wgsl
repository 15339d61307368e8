// Writing tensor t: four int8 are one word, so one invocation owns them all. Values are whole
// numbers by now; those out of range saturate. The host writes the tensor's name for `t`.

fn store4_t(i: u32, v: vec4<f32>) {
    t[i] = pack4xI8(vec4<i32>(clamp(v, vec4<f32>(-128.0), vec4<f32>(127.0))));
}

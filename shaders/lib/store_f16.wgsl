// Writing tensor t: four f16 are two words, so one invocation owns both halves of each.
// The host writes the tensor's name for `t`.

fn store4_t(i: u32, v: vec4<f32>) {
    t[i] = vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
}

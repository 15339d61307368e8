// Writing tensor t: four f16 are two words. For drivers whose `pack2x16float` makes a NaN of what is too large for
// an f16: infinities are put together by hand. The host writes the tensor's name for `t`.

fn packed_t(v: vec2<f32>) -> u32 {
    let bits = bitcast<vec2<u32>>(v);
    let size = bits & vec2<u32>(0x7fffffffu);
    // From 65520 on, half a step past the largest f16; but NaN, behind infinity, stays one.
    let large = (size >= vec2<u32>(0x477ff000u)) & (size <= vec2<u32>(0x7f800000u));
    let infinity = ((bits >> vec2<u32>(16u)) & vec2<u32>(0x8000u)) | vec2<u32>(0x7c00u);
    let infinities = select(vec2<u32>(0u), infinity, large);
    return pack2x16float(select(v, vec2<f32>(0.0), large)) | infinities.x | (infinities.y << 16u);
}

fn store4_t(i: u32, v: vec4<f32>) {
    t[i] = vec2<u32>(packed_t(v.xy), packed_t(v.zw));
}

// Numbers as whole numbers that are ordered as they are: comparing them is exact on every device, denormals
// included. -0 and 0 are one; 0u stands for nothing, since no number has it.

fn order4(v: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(v);
    let sign = vec4<u32>(0x80000000u);
    let plain = select(bits, vec4<u32>(0u), bits == sign);
    return select(plain | sign, ~plain, plain >= sign);
}

// GGUF Q2_K: of each block of 256 along K sixteen bytes of s and m, 4 bits each, for parts of 16; behind those of
// all blocks a word of two f16 d and dmin for each. The products d·s and dmin·m are exact.

@group(0) @binding(0) var<storage, read> w_scale: array<u32>;

fn block_of(block: u32, n: u32) -> vec2<f32> {
    let blocks = p.K / 256u;
    let word = w_scale[unit_of(block / 4u, blocks * 4u, n)] >> (block % 4u * 8u);
    let halves = w_scale[p.N * blocks * 4u + unit_of(block / 16u, blocks, n)];
    let m = f32((word >> 4u) & 15u);
    return vec2<f32>(f16_value(halves & 0xffffu) * f32(word & 15u), -f16_value(halves >> 16u) * m);
}

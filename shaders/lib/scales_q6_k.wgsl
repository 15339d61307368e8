// GGUF Q6_K: of each block of 256 along K sixteen int8 s for parts of 16; behind those of all blocks an f16 d for
// each. The product d·s is exact.

@group(0) @binding(0) var<storage, read> w_scale: array<u32>;

fn block_of(block: u32, n: u32) -> vec2<f32> {
    let blocks = p.K / 256u;
    let word = w_scale[unit_of(block / 4u, blocks * 4u, n)];
    let s = extractBits(bitcast<i32>(word), block % 4u * 8u, 8u);
    let i = unit_of(block / 16u, blocks, n);
    let d = extractBits(w_scale[p.N * blocks * 4u + (i >> 1u)], (i & 1u) * 16u, 16u);
    return scaled(f16_value(d) * f32(s));
}

// GGUF Q3_K: of each block of 256 along K twelve bytes of s of its sixteen parts of 16, 6 bits each: the low four
// in eight bytes of nibbles, the high two in four bytes; behind those of all blocks an f16 d for each. The
// product d·(s - 32) is exact.

@group(0) @binding(0) var<storage, read> w_scale: array<u32>;

fn block_of(block: u32, n: u32) -> vec2<f32> {
    let blocks = p.K / 256u;
    let first = block / 16u * 3u;
    let part = block % 16u;
    let shift = part % 4u * 8u;
    let low = w_scale[unit_of(first + part / 4u % 2u, blocks * 3u, n)] >> (shift + part / 8u * 4u);
    let high = w_scale[unit_of(first + 2u, blocks * 3u, n)] >> (shift + part / 4u * 2u);
    let s = i32((low & 15u) | ((high & 3u) << 4u)) - 32;
    let i = unit_of(block / 16u, blocks, n);
    let d = extractBits(w_scale[p.N * blocks * 3u + (i >> 1u)], (i & 1u) * 16u, 16u);
    return scaled(f16_value(d) * f32(s));
}

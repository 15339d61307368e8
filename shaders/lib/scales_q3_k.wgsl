// GGUF Q3_K: of each block of 256 along K twelve bytes of s of its sixteen parts of 16, 6 bits each: the low four
// in eight bytes of nibbles, the high two in four bytes; behind those of all blocks an f16 d for each. The
// product d·(s - 32) is exact.

@group(0) @binding(0) var<storage, read> w_scale: array<u32>;

struct Scales {
    d: f32,
    words: vec3<u32>,
}

fn scales_of(block: u32, n: u32) -> Scales {
    let blocks = p.K / 256u;
    let first = unit_of(block * 3u, blocks * 3u, n);
    let next = w_step(n);
    let i = unit_of(block, blocks, n);
    var scales: Scales;
    scales.d = f16_value(extractBits(w_scale[p.N * blocks * 3u + (i >> 1u)], (i & 1u) * 16u, 16u));
    scales.words = vec3<u32>(w_scale[first], w_scale[first + next], w_scale[first + 2u * next]);
    return scales;
}

fn part_of(scales: Scales, part: u32) -> vec2<f32> {
    let shift = part % 4u * 8u;
    let low = select(scales.words.x, scales.words.y, part / 4u % 2u == 1u) >> (shift + part / 8u * 4u);
    let high = scales.words.z >> (shift + part / 4u * 2u);
    return scaled(scales.d * f32(i32((low & 15u) | ((high & 3u) << 4u)) - 32));
}

fn block_of(block: u32, n: u32) -> vec2<f32> {
    return part_of(scales_of(block / 16u, n), block % 16u);
}

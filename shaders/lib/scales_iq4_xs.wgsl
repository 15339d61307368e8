// GGUF IQ4_XS: of each block of 256 along K two words, an f16 d and the high two bits of s of its eight parts of
// 32, then the low four. The product d·(s - 32) is exact.

@group(0) @binding(0) var<storage, read> w_scale: array<u32>;

struct Scales {
    d: f32,
    words: vec2<u32>,
}

fn scales_of(block: u32, n: u32) -> Scales {
    let first = unit_of(block * 2u, p.K / 128u, n);
    var scales: Scales;
    scales.words = vec2<u32>(w_scale[first], w_scale[first + w_step(n)]);
    scales.d = f16_value(scales.words.x & 0xffffu);
    return scales;
}

fn part_of(scales: Scales, part: u32) -> vec2<f32> {
    let low = (scales.words.y >> (part * 4u)) & 15u;
    let high = (scales.words.x >> (16u + part * 2u)) & 3u;
    return scaled(scales.d * f32(i32(low | (high << 4u)) - 32));
}

fn block_of(block: u32, n: u32) -> vec2<f32> {
    return part_of(scales_of(block / 8u, n), block % 8u);
}

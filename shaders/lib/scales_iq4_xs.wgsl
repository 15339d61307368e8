// GGUF IQ4_XS: of each block of 256 along K two words, an f16 d and the high two bits of s of its eight parts of
// 32, then the low four. The product d·(s - 32) is exact.

@group(0) @binding(0) var<storage, read> w_scale: array<u32>;

struct Whole {
    d: f32,
    words: vec2<u32>,
}

fn whole_of(block: u32, n: u32) -> Whole {
    let first = unit_of(block * 2u, p.K / 128u, n);
    var whole: Whole;
    whole.words = vec2<u32>(w_scale[first], w_scale[first + w_step(n)]);
    whole.d = f16_value(whole.words.x & 0xffffu);
    return whole;
}

fn part_of(whole: Whole, part: u32) -> vec2<f32> {
    let low = (whole.words.y >> (part * 4u)) & 15u;
    let high = (whole.words.x >> (16u + part * 2u)) & 3u;
    return scaled(whole.d * f32(i32(low | (high << 4u)) - 32));
}

fn block_of(block: u32, n: u32) -> vec2<f32> {
    return part_of(whole_of(block / 8u, n), block % 8u);
}

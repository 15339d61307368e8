// Scales of IQ4_XS, those of a block of 256 read at once, for who keeps them until the next: what they mean and
// where they lie, `block_of` says, which reads those of one part.

struct Scales {
    d: f32,
    words: vec2<u32>,
}

fn scales_of(block: u32, n: u32, r: u32) -> Scales {
    let first = unit_of(block * 2u, p.K / 128u, n);
    var scales: Scales;
    scales.words = vec2<u32>(field_w_scale(first, r, 32u), field_w_scale(first + w_step(n), r, 32u));
    scales.d = f16_value(scales.words.x & 0xffffu);
    return scales;
}

fn part_of(scales: Scales, part: u32) -> vec2<f32> {
    let low = (scales.words.y >> (part * 4u)) & 15u;
    let high = (scales.words.x >> (16u + part * 2u)) & 3u;
    return scaled(scales.d * f32(i32(low | (high << 4u)) - 32));
}

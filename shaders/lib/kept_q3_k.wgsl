// Scales of Q3_K, those of a block of 256 read at once, for who keeps them until the next: what they mean and
// where they lie, `block_of` says, which reads those of one part.

struct Scales {
    d: f32,
    words: vec3<u32>,
}

fn scales_of(block: u32, n: u32, r: u32) -> Scales {
    let blocks = p.K / 256u;
    let first = unit_of(block * 3u, blocks * 3u, n);
    let next = w_step(n);
    var scales: Scales;
    scales.d = f16_value(field_w_scale(p.N * blocks * 6u + unit_of(block, blocks, n), r, 16u));
    scales.words = vec3<u32>(
        field_w_scale(first, r, 32u),
        field_w_scale(first + next, r, 32u),
        field_w_scale(first + 2u * next, r, 32u),
    );
    return scales;
}

fn part_of(scales: Scales, part: u32) -> vec2<f32> {
    let shift = part % 4u * 8u;
    let low = select(scales.words.x, scales.words.y, part / 4u % 2u == 1u) >> (shift + part / 8u * 4u);
    let high = scales.words.z >> (shift + part / 4u * 2u);
    return scaled(scales.d * f32(i32((low & 15u) | ((high & 3u) << 4u)) - 32));
}

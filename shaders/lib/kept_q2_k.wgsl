// Scales of Q2_K, those of a block of 256 read at once, for who keeps them until the next: what they mean and
// where they lie, `block_of` says, which reads those of one part.

struct Scales {
    halves: vec2<f32>, // d and -dmin
    words: vec4<u32>,
}

fn scales_of(block: u32, n: u32, r: u32) -> Scales {
    let blocks = p.K / 256u;
    let first = unit_of(block * 4u, blocks * 4u, n);
    let next = w_step(n);
    let halves = field_w_scale(p.N * blocks * 4u + unit_of(block, blocks, n), r, 32u);
    var scales: Scales;
    scales.halves = vec2<f32>(f16_value(halves & 0xffffu), -f16_value(halves >> 16u));
    scales.words = vec4<u32>(
        field_w_scale(first, r, 32u),
        field_w_scale(first + next, r, 32u),
        field_w_scale(first + 2u * next, r, 32u),
        field_w_scale(first + 3u * next, r, 32u),
    );
    return scales;
}

fn part_of(scales: Scales, part: u32) -> vec2<f32> {
    let word = scales.words[part / 4u] >> (part % 4u * 8u);
    return scales.halves * vec2<f32>(vec2<u32>(word & 15u, (word >> 4u) & 15u));
}

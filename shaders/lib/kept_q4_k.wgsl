// Scales of Q4_K and Q5_K, those of a block of 256 read at once, for who keeps them until the next: what they
// mean and where they lie, `block_of` says, which reads those of one part.

struct Scales {
    halves: vec2<f32>, // d and -dmin
    words: vec3<u32>,
}

fn scales_of(block: u32, n: u32, r: u32) -> Scales {
    let units = p.K / 256u * 4u;
    let first = unit_of(block * 4u, units, n);
    let next = w_step(n);
    let halves = field_w_scale(first, r, 32u);
    var scales: Scales;
    scales.halves = vec2<f32>(f16_value(halves & 0xffffu), -f16_value(halves >> 16u));
    scales.words = vec3<u32>(
        field_w_scale(first + next, r, 32u),
        field_w_scale(first + 2u * next, r, 32u),
        field_w_scale(first + 3u * next, r, 32u),
    );
    return scales;
}

fn part_of(scales: Scales, part: u32) -> vec2<f32> {
    let words = scales.words >> vec3<u32>(part % 4u * 8u);
    // Without a branch: what differs is the same for all columns.
    let is_upper = part >= 4u;
    let lower = select(words.xy, vec2<u32>(words.z, words.z >> 4u), is_upper);
    let low = lower & vec2<u32>(select(63u, 15u, is_upper));
    let high = (words.xy >> vec2<u32>(2u)) & vec2<u32>(select(0u, 48u, is_upper));
    return scales.halves * vec2<f32>(low | high);
}

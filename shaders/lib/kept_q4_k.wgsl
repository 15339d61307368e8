// Scales of Q4_K and Q5_K, those of a block of 256 read at once, for who keeps them until the next: what they
// mean and where they lie, `block_of` says, which reads those of one part.

struct Scales {
    halves: vec2<f32>, // d and -dmin
    words: vec3<u32>,
}

fn scales_of(block: u32, n: u32) -> Scales {
    let units = p.K / 256u * 4u;
    let first = unit_of(block * 4u, units, n);
    let next = w_step(n);
    let halves = w_scale[first];
    var scales: Scales;
    scales.halves = vec2<f32>(f16_value(halves & 0xffffu), -f16_value(halves >> 16u));
    scales.words = vec3<u32>(w_scale[first + next], w_scale[first + 2u * next], w_scale[first + 3u * next]);
    return scales;
}

fn part_of(scales: Scales, part: u32) -> vec2<f32> {
    let words = scales.words >> vec3<u32>(part % 4u * 8u);
    var s = words.x & 63u;
    var m = words.y & 63u;
    if part >= 4u {
        s = (words.z & 15u) | ((words.x >> 2u) & 48u);
        m = ((words.z >> 4u) & 15u) | ((words.y >> 2u) & 48u);
    }
    return scales.halves * vec2<f32>(vec2<u32>(s, m));
}

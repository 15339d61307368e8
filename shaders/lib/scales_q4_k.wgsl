// GGUF Q4_K and Q5_K: of each block of 256 along K four words, two f16 d and dmin, and 12 bytes of s and m of its
// eight parts of 32, 6 bits each: of the first four in the low bits of eight bytes, of the others the low four
// in the last four bytes and the high two above those of the first. The products d·s and dmin·m are exact.

@group(0) @binding(0) var<storage, read> w_scale: array<w_scale_word>;

fn block_of(block: u32, n: u32, r: u32) -> vec2<f32> {
    let first = block / 8u * 4u;
    let units = p.K / 256u * 4u;
    let part = block % 8u;
    let halves = field_w_scale(unit_of(first, units, n), r, 32u);
    let shift = part % 4u * 8u;
    let low = field_w_scale(unit_of(first + 1u, units, n), r, 32u) >> shift;
    let high = field_w_scale(unit_of(first + 2u, units, n), r, 32u) >> shift;
    var s = low & 63u;
    var m = high & 63u;
    if part >= 4u {
        let last = field_w_scale(unit_of(first + 3u, units, n), r, 32u) >> shift;
        s = (last & 15u) | ((low >> 2u) & 48u);
        m = ((last >> 4u) & 15u) | ((high >> 2u) & 48u);
    }
    return vec2<f32>(f16_value(halves & 0xffffu) * f32(s), -f16_value(halves >> 16u) * f32(m));
}

// Something of the scales that lie together in one run, `whole`, of column n, for whoever wants them in a cache.
fn touch_scales(whole: u32, n: u32, words: u32) -> u32 {
    return word_w_scale(unit_of(whole * 4u, p.K / 64u, n) + words);
}

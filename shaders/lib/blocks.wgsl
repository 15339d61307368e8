// Reading blocks of GGUF files, a function for each format or for what formats share; see src/formats for how
// they lie. `first` is where a block begins, `part` a part of it with a scale, `element` a multiple of four.
// Products of scales, and of scales and what codes stand for, are exact.

// Q2_K
fn part_q2_k(first: u32, part: u32) -> vec2<f32> {
    let both = byte_at(first + part);
    return vec2<f32>(half_at(first + 80u) * f32(both & 15u), -half_at(first + 82u) * f32(both >> 4u));
}

// Q3_K
fn part_q3_k(first: u32, part: u32) -> vec2<f32> {
    let low = (byte_at(first + 96u + part % 8u) >> (part / 8u * 4u)) & 15u;
    let high = (byte_at(first + 104u + part % 4u) >> (part / 4u * 2u)) & 3u;
    return vec2<f32>(half_at(first + 108u) * f32(i32(low | (high << 4u)) - 32), 0.0);
}

// Q4_K and Q5_K
fn part_q4_k(first: u32, part: u32) -> vec2<f32> {
    let a = byte_at(first + 4u + part % 4u);
    let b = byte_at(first + 8u + part % 4u);
    var s = a & 63u;
    var m = b & 63u;
    if part >= 4u {
        let last = byte_at(first + 8u + part);
        s = (last & 15u) | ((a >> 6u) << 4u);
        m = (last >> 4u) | ((b >> 6u) << 4u);
    }
    return vec2<f32>(half_at(first) * f32(s), -half_at(first + 2u) * f32(m));
}

// Q6_K
fn part_q6_k(first: u32, part: u32) -> vec2<f32> {
    let s = bitcast<i32>(byte_at(first + 192u + part) << 24u) >> 24u;
    return vec2<f32>(half_at(first + 208u) * f32(s), 0.0);
}

// IQ4_XS
fn part_iq4_xs(first: u32, part: u32) -> vec2<f32> {
    let low = (byte_at(first + 4u + part / 2u) >> (part % 2u * 4u)) & 15u;
    let high = (short_at(first + 2u) >> (part * 2u)) & 3u;
    return vec2<f32>(half_at(first) * f32(i32(low | (high << 4u)) - 32), 0.0);
}

// MXFP4: 2^(e - 128). The two that f32 has as denormal numbers only are made of two factors.
fn part_mxfp4(first: u32, part: u32) -> vec2<f32> {
    let e = byte_at(first);
    let rest = select(select(1.0, 0.5, e == 1u), 0.25, e == 0u);
    return vec2<f32>(bitcast<f32>((max(e, 2u) - 1u) << 23u), rest);
}

// NVFP4: half an e4m3 whose sign does not count.
fn part_nvfp4(first: u32, part: u32) -> vec2<f32> {
    let code = byte_at(first + part);
    let magnitude = code & 127u;
    var scale = bitcast<f32>((magnitude << 20u) + 0x3b800000u);
    if magnitude < 8u {
        scale = f32(magnitude) * 0.0009765625;
    }
    return vec2<f32>(select(scale, 0.0, code == 127u), 1.0);
}

// TQ1_0: five digits of base 3 in a byte, the first the highest, as a fraction of 256; runs of 32, 16 and 4 bytes.
fn four_tq1_0(first: u32, element: u32) -> vec4<f32> {
    var at = element % 32u;
    var digit = element / 32u;
    if element >= 240u {
        at = 48u;
        digit = (element - 240u) / 4u;
    } else if element >= 160u {
        at = 32u + element % 16u;
        digit = (element - 160u) / 16u;
    }
    let power = select((0x1b090301u >> (digit * 8u)) & 255u, 81u, digit == 4u);
    let bytes = (vec4<u32>(word_at(first + at)) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    let rest = (bytes * power) & vec4<u32>(255u);
    return (vec4<f32>((rest * 3u) >> vec4<u32>(8u)) - 1.0) * half_at(first + 52u);
}

fn negated4(v: vec4<f32>, signs: u32) -> vec4<f32> {
    return select(v, -v, ((vec4<u32>(signs) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) != vec4<u32>(0u));
}

// Seven bits of signs with the eighth, which makes the number of minus signs even.
fn with_even(signs: u32) -> u32 {
    let seven = signs & 127u;
    return seven | ((countOneBits(seven) & 1u) << 7u);
}

// Four elements, the second half of eight or the first, of an entry of a list of IQ2.
fn four_of_iq2(scale: f32, index: u32, signs: u32, upper: u32) -> vec4<f32> {
    let codes = (vec4<u32>(entry(index)) >> (vec4<u32>(0u, 2u, 4u, 6u) + upper * 8u)) & vec4<u32>(3u);
    let numbers = (vec4<u32>(0x002b1908u) >> (codes * 8u)) & vec4<u32>(255u);
    return negated4(scale * vec4<f32>(numbers), signs >> (upper * 4u));
}

// Codes of three bits of an entry of a list of IQ3.
fn codes_of_iq3(index: u32) -> vec4<u32> {
    return (vec4<u32>(entry(index)) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(7u);
}

// Four elements, the second half of eight or the first, of an entry of the list of IQ1.
fn four_of_iq1(scale: f32, index: u32, is_below: bool, upper: u32) -> vec4<f32> {
    let codes = (vec4<u32>(entry(index)) >> (vec4<u32>(0u, 2u, 4u, 6u) + upper * 8u)) & vec4<u32>(3u);
    return scale * (vec4<f32>(codes) + select(-0.875, -1.125, is_below));
}

// One of the nibbles from a place on.
fn nibble(at: u32, i: u32) -> f32 {
    return f32((byte_at(at + i / 2u) >> (i % 2u * 4u)) & 15u);
}

fn four_iq2_xxs(first: u32, element: u32) -> vec4<f32> {
    let i = element / 8u;
    let at = first + 2u + i / 4u * 8u;
    let signs = word_at(at + 4u);
    let scale = half_at(first) * (0.5 + f32(signs >> 28u)) * 0.25;
    return four_of_iq2(scale, byte_at(at + i % 4u), with_even(signs >> (i % 4u * 7u)), element / 4u % 2u);
}

fn four_iq2_xs(first: u32, element: u32) -> vec4<f32> {
    let i = element / 8u;
    let word = short_at(first + 2u + 2u * i);
    let scale = half_at(first) * (0.5 + nibble(first + 66u, i / 2u)) * 0.25;
    return four_of_iq2(scale, word & 511u, with_even(word >> 9u), element / 4u % 2u);
}

fn four_iq2_s(first: u32, element: u32) -> vec4<f32> {
    let i = element / 8u;
    let high = (byte_at(first + 66u + i / 4u) >> (i % 4u * 2u)) & 3u;
    let scale = half_at(first) * (0.5 + nibble(first + 74u, i / 2u)) * 0.25;
    let index = byte_at(first + 2u + i) | (high << 8u);
    return four_of_iq2(scale, index, byte_at(first + 34u + i), element / 4u % 2u);
}

fn four_iq3_xxs(first: u32, element: u32) -> vec4<f32> {
    let i = element / 8u;
    let signs = word_at(first + 66u + i / 4u * 4u);
    let scale = half_at(first) * (0.5 + f32(signs >> 28u)) * 0.5;
    let codes = codes_of_iq3(byte_at(first + 2u + element / 4u));
    let numbers = codes * 8u + 4u + select(vec4<u32>(0u), vec4<u32>(2u), codes == vec4<u32>(7u));
    return negated4(scale * vec4<f32>(numbers), with_even(signs >> (i % 4u * 7u)) >> (element / 4u % 2u * 4u));
}

fn four_iq3_s(first: u32, element: u32) -> vec4<f32> {
    let j = element / 4u;
    let high = (byte_at(first + 66u + j / 8u) >> (j % 8u)) & 1u;
    let scale = half_at(first) * (1.0 + 2.0 * nibble(first + 106u, j / 8u));
    let codes = codes_of_iq3(byte_at(first + 2u + j) | (high << 8u));
    return negated4(scale * vec4<f32>(codes * 2u + 1u), byte_at(first + 74u + j / 2u) >> (j % 2u * 4u));
}

fn four_iq1_s(first: u32, element: u32) -> vec4<f32> {
    let i = element / 8u;
    let high = short_at(first + 34u + i / 4u * 2u);
    let index = byte_at(first + 2u + i) | (((high >> (i % 4u * 3u)) & 7u) << 8u);
    let scale = half_at(first) * f32(2u * ((high >> 12u) & 7u) + 1u);
    return four_of_iq1(scale, index, (high >> 15u) == 1u, element / 4u % 2u);
}

// The four bits that the scales of four words leave are the scale of the block, the lowest first.
fn four_iq1_m(first: u32, element: u32) -> vec4<f32> {
    let i = element / 8u;
    let high = (byte_at(first + 32u + i / 2u) >> (i % 2u * 4u)) & 15u;
    let index = byte_at(first + i) | ((high & 7u) << 8u);
    var d = 0u;
    for (var j = 0u; j < 4u; j++) {
        d |= (short_at(first + 48u + 2u * j) >> 12u) << (4u * j);
    }
    let s = (short_at(first + 48u + i / 8u * 2u) >> (i / 2u % 4u * 3u)) & 7u;
    return four_of_iq1(f16_value(d) * f32(2u * s + 1u), index, (high & 8u) != 0u, element / 4u % 2u);
}

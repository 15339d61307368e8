// As with words of 32 bits for eight columns, but in pairs that are loaded as one: where lanes are gathered one by
// one, a u64 takes hardly longer than a u32. A field of 32 bits needs an even i only.

alias t_word = u64;

fn word_t(i: u32) -> u32 {
    return u32(t[i / 2u] >> (i % 2u * 32u));
}

fn field_t(i: u32, r: u32, bits: u32) -> u32 {
    let each = 64u / bits;
    return extractBits(u32(t[i / each + r / each] >> (r % each * bits)), 0u, bits);
}

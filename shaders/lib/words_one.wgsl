// Reading tensor t as words of 32 bits, and as fields of 8, 16 or 32: field i + r. The host writes the tensor's
// name for `t`.

alias t_word = u32;

fn word_t(i: u32) -> u32 {
    return t[i];
}

fn field_t(i: u32, r: u32, bits: u32) -> u32 {
    if bits == 32u {
        return t[i + r];
    }
    let each = 32u / bits;
    return extractBits(t[(i + r) / each], (i + r) % each * bits, bits);
}

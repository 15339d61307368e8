// Four weights along K as int8 in a word, out of planes of bits: codes less the one that stands for 0, where
// there is no least; or the numbers that codes stand for. Of each byte by itself, without taking them apart.

// The four codes of a group, of `bits` each, in the bytes of a word.
fn bytes4(first: u32, i: u32, bits: u32) -> u32 {
    let each = 8u / bits; // groups in a word
    let codes = (word_w(first + i / each) >> (i % each * 4u * bits)) & ((1u << (4u * bits)) - 1u);
    let pairs = (codes | (codes << (16u - 2u * bits))) & (((1u << (2u * bits)) - 1u) * 0x00010001u);
    return (pairs | (pairs << (8u - bits))) & (((1u << bits) - 1u) * 0x01010101u);
}

fn whole_w(i: u32) -> u32 {
    if TABLE > 0u {
        return pack4xI8(vec4<i32>(number4(bits4(0u, i, LOW))));
    }
    var codes = bytes4(0u, i, LOW);
    if HIGH > 0u {
        codes |= bytes4(p.N * (p.K / 32u) * LOW, i, HIGH) << LOW;
    }
    // With the highest bit of a byte set nothing is borrowed from the next; then it is put right.
    return ((codes | 0x80808080u) - u32(ZERO) * 0x01010101u) ^ 0x80808080u;
}

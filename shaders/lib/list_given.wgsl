// The list of vectors that blocks of a format are made of: entries of 16 bits.

@group(0) @binding(0) var<storage, read> list: array<u32>;

fn entry(i: u32) -> u32 {
    return (list[i / 2u] >> (i % 2u * 16u)) & 65535u;
}

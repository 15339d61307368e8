// Random bits of a counter and a key: the first word of Philox4x32-10 (Salmon et al. 2011, "Parallel random
// numbers: as easy as 1, 2, 3"), which is ten rounds of two products of 64 bits.

// a · b as two words, the lower one first: of halves, since WGSL has no product of 64 bits.
fn product(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let across = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (across & 0xffffu);
    return vec2<u32>(a * b, (a >> 16u) * (b >> 16u) + (across >> 16u) + (other >> 16u));
}

fn random(counter: vec4<u32>, first_key: vec2<u32>) -> u32 {
    var c = counter;
    var key = first_key;
    for (var turn = 0u; turn < 10u; turn++) {
        let a = product(0xd2511f53u, c.x);
        let b = product(0xcd9e8d57u, c.z);
        c = vec4<u32>(b.y ^ c.y ^ key.x, b.x, a.y ^ c.w ^ key.y, a.x);
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c.x;
}

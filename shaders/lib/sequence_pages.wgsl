// Sequences lie in pages of T rows, which a row of `pages` names, behind where the sequence begins: V there are.

@group(0) @binding(0) var<storage, read> pages: array<u32>;

fn rows_of_sequence() -> u32 {
    return (p.N - 1u) * p.T;
}

fn page_of(b: u32, at: u32, kept: bool) -> vec3<u32> {
    let page = pages[p.pages_offset + b * p.N + 1u + min(at / p.T, p.N - 2u)];
    return vec3<u32>(page, at % p.T, u32(kept && page < p.V));
}

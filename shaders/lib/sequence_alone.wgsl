// Each sequence has a cache of T rows to itself.

fn rows_of_sequence() -> u32 {
    return p.T;
}

fn page_of(b: u32, at: u32, kept: bool) -> vec3<u32> {
    return vec3<u32>(b, at, u32(kept));
}

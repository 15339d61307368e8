// Rows of a workgroup that has the keys and values of one g: queries of the heads that share those.

// The place of a row of the workgroup among its sequence's queries, and its head.
fn row_of(row: u32, g: u32) -> vec2<u32> {
    let r = min(row, p.S * (p.H / p.G) - 1u);
    return vec2<u32>(r % p.S, g * (p.H / p.G) + r / p.S);
}

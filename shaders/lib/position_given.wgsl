// Where the tokens stand is given: a row of positions for each thing that pairs of elements may follow.

@group(0) @binding(0) var<storage, read> positions: array<u32>;

fn position_of(row: u32, token: u32) -> u32 {
    return positions[p.positions_offset + min(row, p.N - 1u) * (p.B * p.S) + token];
}

// Tokens stand one behind the other, from `start` on.

fn position_of(row: u32, token: u32) -> u32 {
    return p.start + token % p.S;
}

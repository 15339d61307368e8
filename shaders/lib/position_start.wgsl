// Tokens stand one behind the other, in each sequence from its first row on.

fn position_of(row: u32, token: u32) -> u32 {
    return first_row(token / p.S) + token % p.S;
}

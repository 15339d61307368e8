// Where the last query stands among the keys, from their first on: one more than its place. The file that links
// it says REACH: 1 the keys' number, 2 the queries', 3 the sequence's length.

fn reach_of(length: u32) -> u32 {
    return select(select(p.T, length, REACH == 3u), p.S, REACH == 2u);
}

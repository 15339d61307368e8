// Rows cut into SPLITS shares of whole groups of four, of which each team does one; and what the shares of a
// row came to: in `part` lie SPLITS results of the first pass for each row, then those of the second, if any.

// Of the `at`-th share of all rows: its row, the first group of this lane, and where the share ends. Past the last
// share there is no group to do, but a row to wait with at barriers.
fn share_of(at: u32, lane: u32) -> vec3<u32> {
    let groups = (p.C + 3u) / 4u;
    let each = (groups + SPLITS - 1u) / SPLITS;
    let start = at % SPLITS * each;
    let end = select(0u, min(start + each, groups), at < p.R * SPLITS);
    return vec3<u32>(min(at / SPLITS, p.R - 1u), start + lane, end);
}

fn part_sum(r: u32, again: u32, index: u32) -> f32 {
    var sum = 0.0;
    for (var s = index % LANES; s < SPLITS; s += LANES) {
        sum += part[(again * p.R + r) * SPLITS + s];
    }
    return team_sum(sum, index);
}

fn part_max(r: u32, again: u32, index: u32) -> f32 {
    var largest = -3.4028234e38; // nothing finite is less
    for (var s = index % LANES; s < SPLITS; s += LANES) {
        largest = max(largest, part[(again * p.R + r) * SPLITS + s]);
    }
    return team_max(largest, index);
}

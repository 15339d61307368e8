// The sum and the largest of `v` over a team: LANES neighbours of a workgroup of TEAMS teams, the same in
// all of them. A tree in workgroup memory down to eight parts, which every invocation joins for itself:
// a barrier costs more than a few loads. No subgroup size is assumed. LANES is a power of two.

const PARTS: u32 = min(LANES, 8u);

var<workgroup> team_parts: array<f32, LANES * TEAMS>;

fn team_sum(v: f32, index: u32) -> f32 {
    let lane = index % LANES;
    team_parts[index] = v;
    workgroupBarrier(); // every invocation's part is there
    for (var step = LANES / 2u; step >= 8u; step >>= 1u) {
        if lane < step {
            team_parts[index] += team_parts[index + step];
        }
        workgroupBarrier(); // this half is joined
    }
    var total = team_parts[index - lane];
    for (var i = 1u; i < PARTS; i++) {
        total += team_parts[index - lane + i];
    }
    workgroupBarrier(); // until all have read them, before the next overwrites them
    return total;
}

fn team_max(v: f32, index: u32) -> f32 {
    let lane = index % LANES;
    team_parts[index] = v;
    workgroupBarrier(); // every invocation's part is there
    for (var step = LANES / 2u; step >= 8u; step >>= 1u) {
        if lane < step {
            team_parts[index] = max(team_parts[index], team_parts[index + step]);
        }
        workgroupBarrier(); // this half is joined
    }
    var largest = team_parts[index - lane];
    for (var i = 1u; i < PARTS; i++) {
        largest = max(largest, team_parts[index - lane + i]);
    }
    workgroupBarrier(); // until all have read them, before the next overwrites them
    return largest;
}

// The sum and the largest of `v` over a team that is a workgroup and a subgroup at once, so that it does
// not matter which invocation has which place in it. Both halves of an exchange add the same two
// numbers, so all end with the same bits. LANES is the subgroup's size.

fn team_sum(v: f32, index: u32) -> f32 {
    var total = v;
    for (var step = 1u; step < LANES; step <<= 1u) {
        total += subgroupShuffleXor(total, step);
    }
    return total;
}

fn team_max(v: f32, index: u32) -> f32 {
    var largest = v;
    for (var step = 1u; step < LANES; step <<= 1u) {
        largest = max(largest, subgroupShuffleXor(largest, step));
    }
    return largest;
}

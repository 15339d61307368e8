// The sum and the largest of `v` over a team that is a workgroup and a subgroup at once: LANES is the
// subgroup's size. In which order a device adds is its own affair, and does not change from row to row.

fn team_sum(v: f32, index: u32) -> f32 {
    return subgroupAdd(v);
}

fn team_max(v: f32, index: u32) -> f32 {
    return subgroupMax(v);
}

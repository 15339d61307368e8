// What a lane of the subgroup loaded, for all of its lanes.

fn handed(v: vec4<u32>, lane: u32) -> vec4<u32> {
    return subgroupShuffle(v, lane);
}

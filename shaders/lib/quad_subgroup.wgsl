// The largest and the sum of `v` over four neighbours, the same in all of them and the same bits as those of
// lib/quad_memory.wgsl. Lanes are numbered as they lie in subgroups. After a sum everybody sees what was written
// to workgroup memory before.

const by_subgroup: bool = true;

fn quad_max(v: f32, lane: u32) -> f32 {
    let pair = max(v, subgroupShuffleXor(v, 1u));
    return max(pair, subgroupShuffleXor(pair, 2u));
}

fn quad_sum(v: f32, lane: u32) -> f32 {
    let pair = v + subgroupShuffleXor(v, 1u);
    let sum = pair + subgroupShuffleXor(pair, 2u);
    workgroupBarrier(); // what else was written is there
    return sum;
}

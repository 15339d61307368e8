// The sum of `v` over a workgroup of BLOCK invocations, the same in all of them. A tree in
// workgroup memory: no subgroup size is assumed. BLOCK is a power of two.

var<workgroup> partial_sums: array<f32, BLOCK>;

fn workgroup_sum(v: f32, lane: u32) -> f32 {
    partial_sums[lane] = v;
    workgroupBarrier();
    for (var step = BLOCK / 2u; step > 0u; step >>= 1u) {
        if lane < step {
            partial_sums[lane] += partial_sums[lane + step];
        }
        workgroupBarrier();
    }
    let total = partial_sums[0];
    workgroupBarrier(); // until all have read it, before the next sum overwrites it
    return total;
}

// The largest `v` of a workgroup of BLOCK invocations, the same in all of them. A tree in
// workgroup memory: no subgroup size is assumed. BLOCK is a power of two.

var<workgroup> partial_maxima: array<f32, BLOCK>;

fn workgroup_max(v: f32, lane: u32) -> f32 {
    partial_maxima[lane] = v;
    workgroupBarrier();
    for (var step = BLOCK / 2u; step > 0u; step >>= 1u) {
        if lane < step {
            partial_maxima[lane] = max(partial_maxima[lane], partial_maxima[lane + step]);
        }
        workgroupBarrier();
    }
    let largest = partial_maxima[0];
    workgroupBarrier(); // until all have read it, before the next maximum overwrites it
    return largest;
}

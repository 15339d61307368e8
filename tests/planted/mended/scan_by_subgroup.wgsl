// The running sums of 128 counts, by subgroups and their totals.
// Mended: each lane takes the element of its place in its subgroup.

@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;

var<workgroup> totals: array<u32, 64>;

@compute @workgroup_size(128)
fn main(
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let place = subgroup * size + lane;
    let run = subgroupInclusiveAdd(counts[place]);
    let total = subgroupAdd(counts[place]);
    if subgroupExclusiveAdd(1u) == 0u {
        totals[subgroup] = total;
    }
    workgroupBarrier();
    var before = 0u;
    for (var s = 0u; s < subgroup; s++) {
        before += totals[s];
    }
    sums[place] = before + run;
}

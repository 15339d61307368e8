// The running sums of each block of 64 counts, in log2(64) steps.
// Planted: storageBarrier does not order accesses to workgroup memory.

@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;

var<workgroup> run: array<u32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var sum = counts[id.x];
    for (var step = 1u; step < 64u; step <<= 1u) {
        workgroupBarrier();
        run[lane] = sum;
        storageBarrier();
        if lane >= step {
            sum += run[lane - step]; // finds: race-workgroup
        }
    }
    sums[id.x] = sum;
}

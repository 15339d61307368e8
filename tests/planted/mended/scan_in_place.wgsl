// The running sums of 64 counts, in place in workgroup memory.
// Mended: each step reads, waits, and writes.

@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;

var<workgroup> run: array<u32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    run[lane] = counts[lane];
    workgroupBarrier();
    for (var step = 1u; step < 64u; step *= 2u) {
        var sum = run[lane];
        if lane >= step {
            sum += run[lane - step];
        }
        workgroupBarrier();
        run[lane] = sum;
        workgroupBarrier();
    }
    sums[lane] = run[lane];
}

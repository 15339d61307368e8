// How often each of 16 values occurs in a block of 64.
// Mended: the bins are atomic.

@group(0) @binding(0) var<storage, read> codes: array<u32>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;

var<workgroup> bins: array<atomic<u32>, 16>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    if lane < 16u {
        atomicStore(&bins[lane], 0u);
    }
    workgroupBarrier();
    atomicAdd(&bins[codes[lane] & 15u], 1u);
    workgroupBarrier();
    if lane < 16u {
        counts[lane] = atomicLoad(&bins[lane]);
    }
}

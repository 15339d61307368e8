// How often each of 16 values occurs in a block of 64.
// Planted: lanes that hold one value add to its bin at once.

@group(0) @binding(0) var<storage, read> codes: array<u32>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;

var<workgroup> bins: array<u32, 16>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    if lane < 16u {
        bins[lane] = 0u;
    }
    workgroupBarrier();
    bins[codes[lane] & 15u] += 1u; // finds: race-workgroup
    workgroupBarrier();
    if lane < 16u {
        counts[lane] = bins[lane];
    }
}

// The whole mean of each group of counts.
// Mended: a group of none has the mean zero.

@group(0) @binding(0) var<storage, read> sums: array<u32>;
@group(0) @binding(1) var<storage, read> sizes: array<u32>;
@group(0) @binding(2) var<storage, read_write> means: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    var mean = 0u;
    if sizes[i] > 0u {
        mean = sums[i] / sizes[i];
    }
    means[i] = mean;
}

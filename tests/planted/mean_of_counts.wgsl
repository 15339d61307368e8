// The whole mean of each group of counts.
// Planted: a group of none is divided by zero, which WGSL defines and nobody means.

@group(0) @binding(0) var<storage, read> sums: array<u32>;
@group(0) @binding(1) var<storage, read> sizes: array<u32>;
@group(0) @binding(2) var<storage, read_write> means: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    means[i] = sums[i] / sizes[i]; // warns: division-by-zero
}

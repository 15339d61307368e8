// The sum of every 32 elements, by one subgroup each.
// Mended: every 32 elements have a cell that the lanes add to.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    atomicAdd(&sums[id.x / 32u], x[id.x]);
}

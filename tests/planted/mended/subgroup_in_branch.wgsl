// For each block of 64 the sum of its positive elements.
// Mended: every lane comes to the sum, some with zero.

@group(0) @binding(0) var<storage, read> x: array<i32>;
@group(0) @binding(1) var<storage, read_write> sums: array<atomic<i32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let value = x[id.x];
    let sum = subgroupAdd(max(value, 0));
    if lane == 0u {
        atomicAdd(&sums[wg.x], sum);
    }
}

// The sum of each block of 64 elements, by a tree in workgroup memory.
// Planted: no barrier between the steps of the tree.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;

var<workgroup> part: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    part[lane] = x[wg.x * 64u + lane];
    workgroupBarrier();
    for (var step = 32u; step > 0u; step >>= 1u) {
        if lane < step {
            part[lane] += part[lane + step]; // finds: race-workgroup
        }
    }
    if lane == 0u {
        sums[wg.x] = part[0];
    }
}

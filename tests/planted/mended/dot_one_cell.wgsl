// The dot product of two vectors, each workgroup adding its part to one cell.
// Mended: each workgroup has a cell of its own.

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;

var<workgroup> part: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    part[lane] = a[id.x] * b[id.x];
    workgroupBarrier();
    for (var step = 32u; step > 0u; step >>= 1u) {
        if lane < step {
            part[lane] += part[lane + step];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        sum[wg.x] = part[0];
    }
}

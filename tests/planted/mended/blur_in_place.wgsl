// Each element becomes the mean of itself and its neighbours, in place.
// Mended: what is read and what is written are two buffers.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> tile: array<f32, 66>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let base = wg.x * 64u;
    for (var i = lane; i < 66u; i += 64u) {
        tile[i] = x[base + i];
    }
    workgroupBarrier();
    y[base + lane] = (tile[lane] + tile[lane + 1u] + tile[lane + 2u]) / 3.0;
}

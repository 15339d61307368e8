// Pairs of elements exchanged: real and imaginary parts that lie side by side.
// Mended: they meet in workgroup memory.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> tile: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    tile[lane] = x[id.x];
    workgroupBarrier();
    let other = tile[lane ^ 1u];
    y[id.x] = other;
}

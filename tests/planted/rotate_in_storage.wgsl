// Each block of 64 elements turned by one place, through a scratch buffer in storage.
// Planted: workgroupBarrier does not order accesses to storage.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let base = wg.x * 64u;
    scratch[base + lane] = 2.0 * x[base + lane];
    workgroupBarrier();
    y[base + lane] = scratch[base + (lane + 1u) % 64u]; // finds: race-workgroup
}

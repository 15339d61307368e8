// y becomes a x + y over 100 elements, 64 to a workgroup.
// Planted: the last lanes of the last workgroup lie past the end.

struct Params {
    a: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    y[i] = p.a * x[i] + y[i]; // finds: out-of-bounds
}

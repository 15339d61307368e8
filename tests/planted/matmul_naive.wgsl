// A matrix of 12 by 20 times one of 20 by 9.
// Planted: B is read by the number of its rows where the number of its columns is meant.

struct Dims {
    rows: u32, columns: u32, inner: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<uniform> d: Dims;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.y >= d.rows || id.x >= d.columns {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < d.inner; k++) {
        sum += a[id.y * d.inner + k] * b[k * d.inner + id.x]; // finds: out-of-bounds
    }
    c[id.y * d.columns + id.x] = sum;
}

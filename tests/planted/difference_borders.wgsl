// The central difference along a line of 100 elements.
// Planted: the two ends are skipped and keep what was there.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> slope: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let n = arrayLength(&x);
    if id.x == 0u || id.x + 1u >= n {
        return;
    }
    slope[id.x] = 0.5 * (x[id.x + 1u] - x[id.x - 1u]); // finds: never-written
}

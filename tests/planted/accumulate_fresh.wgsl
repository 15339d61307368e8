// The product of a matrix and a vector, summed into the output.
// Planted: the output is added to before anything wrote it.

@group(0) @binding(0) var<storage, read> m: array<f32>;
@group(0) @binding(1) var<storage, read> v: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(16)
fn main(@builtin(local_invocation_index) row: u32) {
    for (var k = 0u; k < 16u; k++) {
        y[row] += m[row * 16u + k] * v[k]; // finds: unwritten-read
    }
}

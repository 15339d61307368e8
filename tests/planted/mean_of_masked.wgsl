// The mean of those elements of a row that a mask keeps.
// Planted: a row of which nothing is kept gives zero divided by zero.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> mask: array<u32>;
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;

@compute @workgroup_size(16)
fn main(@builtin(local_invocation_index) row: u32) {
    var sum = 0.0;
    var count = 0.0;
    for (var i = 0u; i < 4u; i++) {
        if mask[row * 4u + i] != 0u {
            sum += x[row * 4u + i];
            count += 1.0;
        }
    }
    mean[row] = sum / count; // finds: nonfinite
}

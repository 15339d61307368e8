// Dot products of rows of 16 elements of type f16.
// Planted: the sum is kept as f16 and exceeds 65504.

enable f16;

@group(0) @binding(0) var<storage, read> a: array<f16>;
@group(0) @binding(1) var<storage, read> b: array<f16>;
@group(0) @binding(2) var<storage, read_write> y: array<f16>;

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) row: u32) {
    var sum = 0.0h;
    for (var i = 0u; i < 16u; i++) {
        sum += a[row * 16u + i] * b[row * 16u + i]; // finds: f16-overflow
    }
    y[row] = f16(f32(sum) / 16.0);
}

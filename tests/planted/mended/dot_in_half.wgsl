// Dot products of rows of 16 elements of type f16.
// Mended: the sum is kept as f32 and scaled before it is f16.

enable f16;

@group(0) @binding(0) var<storage, read> a: array<f16>;
@group(0) @binding(1) var<storage, read> b: array<f16>;
@group(0) @binding(2) var<storage, read_write> y: array<f16>;

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) row: u32) {
    var sum = 0.0;
    for (var i = 0u; i < 16u; i++) {
        sum += f32(a[row * 16u + i]) * f32(b[row * 16u + i]);
    }
    y[row] = f16(sum / 16.0);
}

// Rows of four elements divided by their length.
// Planted: the reciprocal root of zero, for a row of zeros.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(16)
fn main(@builtin(local_invocation_index) row: u32) {
    let square = dot(x[row], x[row]);
    y[row] = x[row] * inverseSqrt(square); // finds: nonfinite
}

// The softmax of rows of four scores.
// Planted: the exponential of a large score overflows, since the largest is not taken off first.

@group(0) @binding(0) var<storage, read> scores: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) row: u32) {
    let score = scores[row];
    let top = max(max(score.x, score.y), max(score.z, score.w));
    let weight = exp(score); // finds: nonfinite
    y[row] = weight / (weight.x + weight.y + weight.z + weight.w);
}

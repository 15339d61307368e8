// Weights rounded to whole numbers.
// Mended: the built-in rounds.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<i32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    y[i] = i32(round(x[i]));
}

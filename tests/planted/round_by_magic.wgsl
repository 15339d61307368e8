// Weights rounded to whole numbers.
// Planted: a sum that rounds is undone at once, which a compiler may leave out.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<i32>;

const MAGIC: f32 = 12582912.0; // 1.5 2^23: its last bit counts ones

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    y[i] = i32((x[i] + MAGIC) - MAGIC); // finds: differs
}

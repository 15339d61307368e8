// A gamma curve over signed samples.
// Mended: pow of the absolute value, with the sign put back.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    y[i] = sign(x[i]) * pow(abs(x[i]), 2.2);
}

// Numbers quantised to unsigned bytes.
// Mended: it is clamped first.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let scaled = x[i] * 128.0;
    y[i] = u32(clamp(scaled, 0.0, 255.0));
}

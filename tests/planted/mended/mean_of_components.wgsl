// The mean of the three colours of each pixel.
// Mended: the loop takes three.

@group(0) @binding(0) var<storage, read> pixels: array<vec3<f32>>;
@group(0) @binding(1) var<storage, read_write> grey: array<f32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    let pixel = pixels[i];
    var sum = 0.0;
    for (var c = 0u; c < 3u; c++) {
        sum += pixel[c];
    }
    grey[i] = sum / 3.0;
}

// Weights of 8 bits with a scale of 8 bits per block: a power of two from 2^-127.
// Planted: the least scales are denormal, which a device may take for zero.

@group(0) @binding(0) var<storage, read> scales: array<u32>;
@group(0) @binding(1) var<storage, read> weights: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

const GAIN: f32 = 1.7014118e38; // 2^127

fn power(e: u32) -> f32 {
    return bitcast<f32>(max(e << 23u, 0x400000u));
}

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let scale = power(scales[wg.x]) * GAIN;
    y[id.x] = scale * f32(weights[id.x]); // finds: differs
}

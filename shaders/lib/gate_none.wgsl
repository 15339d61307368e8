// A single product for each result.

const HALVES: u32 = 1u;

fn gated(gate: vec4<f32>, up: vec4<f32>) -> vec4<f32> {
    return up;
}

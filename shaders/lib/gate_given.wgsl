// Two products for each result, of which the first, after a function, gates the second.

const HALVES: u32 = 2u;
const ACT: u32 = 0u; // knob: 0 silu, 1 gelu, 2 gelu by tanh, 3 relu

fn gated(gate: vec4<f32>, up: vec4<f32>) -> vec4<f32> {
    if ACT == 1u {
        return gelu(gate) * up;
    }
    if ACT == 2u {
        return gelu_tanh(gate) * up;
    }
    if ACT == 3u {
        return relu(gate) * up;
    }
    return silu(gate) * up;
}

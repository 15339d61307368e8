// Where a key lies adds nothing.

fn tilted(scores: vec4<f32>, h: u32, along: vec4<f32>) -> vec4<f32> {
    return scores;
}

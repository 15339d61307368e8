// What is further behind a query scores less: ALiBi (Press, Smith and Lewis 2021).

@group(0) @binding(0) var<storage, read> slopes: array<f32>;

fn tilted(scores: vec4<f32>, h: u32, along: vec4<f32>) -> vec4<f32> {
    return scores + slopes[p.slopes_offset * 4u + h] * along;
}

// All weight goes to keys: one over their sum, the largest score, and the sum.

fn with_sink(h: u32, largest: f32, sum: f32) -> vec3<f32> {
    return vec3<f32>(select(1.0 / sum, 0.0, sum <= 0.0), largest, sum);
}

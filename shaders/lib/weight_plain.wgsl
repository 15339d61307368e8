// Weights that are what they are: no scale per block.

fn block_of(block: u32, n: u32) -> vec2<f32> {
    return vec2<f32>(1.0, 0.0);
}

fn load_w(i: u32, block: vec2<f32>) -> vec4<f32> {
    return load4_w(i);
}

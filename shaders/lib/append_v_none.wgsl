// There is no second tensor to append.

fn v_heads() -> u32 {
    return 0u;
}

fn v4_at(b: u32, s: u32, g: u32, c4: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn store4_v_cache(i: u32, v: vec4<f32>) {
}

// Groups of four of w one by one.

fn fetch_w(i: u32) -> u32 {
    return i;
}

fn taken_w(i: u32, r: u32, block: vec2<f32>) -> vec4<f32> {
    return load_w(i, block);
}

// Something of what is in memory there, for whoever wants it in a cache.
fn touch_w(i: u32) -> u32 {
    return bitcast<u32>(load_w(i, vec2<f32>(1.0, 0.0)).x);
}

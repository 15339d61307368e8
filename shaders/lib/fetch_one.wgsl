// Groups of four of w one by one.

fn fetch_w(i: u32) -> u32 {
    return i;
}

fn taken_w(i: u32, r: u32, block: vec2<f32>) -> vec4<f32> {
    return load_w(i, block);
}

alias Placed = vec2<f32>;

fn placed(block: vec2<f32>, r: u32) -> Placed {
    return block;
}

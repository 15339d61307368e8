// Rows are kept as they are.

fn kept_from(at: u32, lane: u32) -> u32 {
    return at;
}

fn keep4(is_v: bool, i: u32, v: vec4<f32>) {
    cache4(is_v, i, v);
}

fn end_row(is_v: bool, at: u32, kept: bool, lane: u32) {
}

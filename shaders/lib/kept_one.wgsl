// Scales of blocks one by one.

alias Scales = vec2<f32>;

fn scales_of(block: u32, n: u32, r: u32) -> Scales {
    return block_of(block, n, r);
}

fn part_of(scales: Scales, part: u32) -> vec2<f32> {
    return scales;
}

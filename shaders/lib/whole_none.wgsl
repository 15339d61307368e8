// Blocks by themselves.

alias Whole = vec2<f32>;

fn whole_of(block: u32, n: u32) -> Whole {
    return block_of(block, n);
}

fn part_of(whole: Whole, part: u32) -> vec2<f32> {
    return whole;
}

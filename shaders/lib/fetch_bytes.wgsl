// Groups of four of eight neighbouring columns of w, of which the first has a number that is a multiple of eight:
// a word each.

struct Eight {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn fetch_w(i: u32) -> Eight {
    let low = vec4<u32>(field_w(i, 0u, 32u), field_w(i, 1u, 32u), field_w(i, 2u, 32u), field_w(i, 3u, 32u));
    let high = vec4<u32>(field_w(i, 4u, 32u), field_w(i, 5u, 32u), field_w(i, 6u, 32u), field_w(i, 7u, 32u));
    return Eight(low, high);
}

// That of the column which is r after the first.
fn taken_w(words: Eight, r: u32, block: vec2<f32>) -> vec4<f32> {
    let four = select(words.low, words.high, r >= 4u);
    return weight4(four[r % 4u], block);
}

alias Placed = vec2<f32>;

fn placed(block: vec2<f32>, r: u32) -> Placed {
    return block;
}

// Weights of whole numbers, (q - zero) · scale: four along K are a word, or half of one. A scale of a whole
// column, or of all of them, waits for the sum; that of a group along K cannot.

const ZEROS: bool = false; // knob: whether there are zero points

fn block_of(block: u32, n: u32, r: u32) -> vec2<f32> {
    if GROUPED {
        return vec2<f32>(scale_at(block, n + r), zero_at(block, n + r));
    }
    return vec2<f32>(1.0, zero_at(0u, n + r));
}

fn touch_scales(whole: u32, n: u32, words: u32) -> u32 {
    return 0u;
}

fn load_w(i: u32, block: vec2<f32>) -> vec4<f32> {
    var v = load4_w(i);
    if ZEROS {
        v -= block.y;
    }
    if GROUPED {
        v *= block.x;
    }
    return v;
}

// Something of what is in memory there, for whoever wants it in a cache.
fn touch_w(i: u32) -> u32 {
    return bitcast<u32>(load4_w(i).x);
}

// How a reduction joins two elements, where it starts, and what it makes of `count` of them.

const HOW: u32 = 0u; // knob: 0 sum, 1 mean, 2 max, 3 min, 4 product
const NEUTRAL: f32 = 0.0; // knob: what leaves the other element as it is

fn combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if HOW == 2u {
        return max(a, b);
    }
    if HOW == 3u {
        return min(a, b);
    }
    if HOW == 4u {
        return a * b;
    }
    return a + b;
}

// Mean, max and min of nothing are 0.
fn finish(v: vec4<f32>, count: u32) -> vec4<f32> {
    if HOW == 1u {
        return v / f32(max(count, 1u));
    }
    if HOW == 2u || HOW == 3u {
        return select(v, vec4<f32>(0.0), count == 0u);
    }
    return v;
}

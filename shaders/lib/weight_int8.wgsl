// Int8 or uint8 weights (q - zero) · scale: four along K are one word. A scale of a whole column, or of
// all of them, waits for the sum; that of a group along K cannot.

@group(0) @binding(0) var<storage, read> w_scale: array<f32>;
const GROUPED: bool = false; // knob: whether scales and zero points are those of groups along K
const ZEROS: bool = false; // knob: whether there are zero points

fn scale_at(group: u32, n: u32) -> f32 {
    return w_scale[p.w_scale_offset + n * p.w_scale_N + group * p.w_scale_K];
}

fn block_of(block: u32, n: u32) -> vec2<f32> {
    if GROUPED {
        return vec2<f32>(scale_at(block, n), zero_at(block, n));
    }
    return vec2<f32>(1.0, zero_at(0u, n));
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

fn column_scale4(c4: u32) -> vec4<f32> {
    if GROUPED {
        return vec4<f32>(1.0);
    }
    let n = min(vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u, vec4<u32>(p.N - 1u));
    return vec4<f32>(scale_at(0u, n.x), scale_at(0u, n.y), scale_at(0u, n.z), scale_at(0u, n.w));
}

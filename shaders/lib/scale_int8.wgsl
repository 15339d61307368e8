// Scales of weights of whole numbers: of all of them or of a column, which a sum is multiplied with; or of
// groups along K, by which weights are multiplied as they are loaded.

@group(0) @binding(0) var<storage, read> w_scale: array<u32>;
const HALF: bool = false; // knob: whether scales are f16
const GROUPED: bool = false; // knob: whether scales and zero points are those of groups along K

fn scale_at(group: u32, n: u32) -> f32 {
    let at = p.w_scale_offset + n * p.w_scale_N + group * p.w_scale_K;
    if HALF {
        return f16_value(extractBits(w_scale[at / 2u], at % 2u * 16u, 16u));
    }
    return bitcast<f32>(w_scale[at]);
}

fn column_scale4(c4: u32) -> vec4<f32> {
    if GROUPED {
        return vec4<f32>(1.0);
    }
    let n = min(vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u, vec4<u32>(p.N - 1u));
    return vec4<f32>(scale_at(0u, n.x), scale_at(0u, n.y), scale_at(0u, n.z), scale_at(0u, n.w));
}

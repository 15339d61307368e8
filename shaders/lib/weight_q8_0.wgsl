// GGUF Q8_0: blocks of 32 along K, an f16 scale for each. Values and scales lie in panels of columns, so
// that neighbouring columns read neighbouring words.

@group(0) @binding(0) var<storage, read> w_scale: array<u32>;

fn block_of(block: u32, n: u32) -> vec2<f32> {
    let i = n / PANEL * PANEL * (p.K / 32u) + block * w_step(n) + n % PANEL;
    return vec2<f32>(f16_value(w_scale[i >> 1u] >> ((i & 1u) * 16u)), 0.0);
}

fn load_w(i: u32, block: vec2<f32>) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(w[i])) * block.x;
}

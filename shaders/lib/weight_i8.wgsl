// Int8 weights with a scale per column: four along K are one word; the scale waits for the sum.

@group(0) @binding(0) var<storage, read> w_scale: array<vec4<f32>>;

fn block_scale(block: u32, n: u32) -> f32 {
    return 1.0;
}

fn load_w(i: u32, scale: f32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(w[i]));
}

fn column_scale4(c4: u32) -> vec4<f32> {
    return w_scale[c4];
}

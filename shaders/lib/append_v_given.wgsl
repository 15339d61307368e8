// Rows of v are appended behind those of k.

@group(0) @binding(0) var<storage, read> v: array<v_group>;
@group(0) @binding(0) var<storage, read_write> v_cache: array<v_cache_group>;
alias v_group = vec4<f32>; // knob: four elements of v
alias v_cache_group = vec4<f32>; // knob: four elements of v_cache

fn v_heads() -> u32 {
    return p.G;
}

fn v4_at(b: u32, s: u32, g: u32, c4: u32) -> vec4<f32> {
    return load4_v(p.v_offset + b * p.v_B + s * p.v_S + g * p.v_G + c4);
}

// Rows of v go to v_cache beside those of k.

@group(0) @binding(0) var<storage, read> v: array<v_group>;
@group(0) @binding(0) var<storage, read_write> v_cache: array<v_cache_group>;
alias v_group = vec4<f32>; // knob: four elements of v
alias v_cache_group = vec4<f32>; // knob: four elements of v_cache

fn v_groups() -> u32 {
    return (p.C + 3u) / 4u;
}

fn append_v(b: u32, s: u32, t: u32, g: u32, c4: u32) {
    let v4 = load4_v(p.v_offset + b * p.v_B + s * p.v_S + g * p.v_G + c4);
    store4_v_cache(p.v_cache_offset + b * p.v_cache_B + t * p.v_cache_T + g * p.v_cache_G + c4, v4);
}

// pad    y[o, k, i] = post(before ≤ k < before + M ? x[o, k - before, i] : value),  k < N, i < D
//
//   x  [R1, C1]  f32 f16 i8 u8  in   O·M·D elements
//   y  [R, C]    f32 f16 i8 u8  out  O·N·D elements
//
// N is the padded axis, M what x has of it, D everything inside it. An invocation owns four elements
// of y and picks them one by one: rows of x and y need not be equally long.

alias x1_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // knob: invocations in a workgroup

struct Params {
    R: u32, C: u32, N: u32, M: u32, D: u32,
    C1: u32, x1_offset: u32, x1_R: u32,
    y_offset: u32, y_R: u32,
    before: u32,
    value: f32,
}

@group(0) @binding(0) var<storage, read> x1: array<x1_group>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

fn element(i: u32) -> f32 {
    let inner = i % p.D;
    let k = i / p.D % p.N - p.before; // below 0 it wraps past M
    if k >= p.M {
        return p.value;
    }
    let at = (i / p.D / p.N * p.M + k) * p.D + inner;
    let c = at % p.C1;
    return load4_x1(p.x1_offset + at / p.C1 * p.x1_R + (c >> 2u))[c & 3u];
}

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let groups = (p.C + 3u) / 4u;
    let i = (wg.y * wgs.x + wg.x) * BLOCK + lane;
    if i >= p.R * groups {
        return;
    }
    let r = i / groups;
    let c4 = i % groups;
    var v = vec4<f32>(0.0);
    for (var c = 0u; c < min(4u, p.C - c4 * 4u); c++) {
        v[c] = element(r * p.C + c4 * 4u + c);
    }
    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(v, r, c4));
}

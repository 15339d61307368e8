// reduce_columns    y[b, s, c] = post(how_k v[b, k, s, c]),  v = pre(x),  how: sum, mean, max, min or
//                   product
//
//   x  [B, K, S, C]  f32 f16  in
//   y  [B, S, C]     f32 f16  out
//
// An invocation owns four neighbours along C and goes over K in order; neighbouring invocations read
// neighbouring groups.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // invocations in a workgroup

struct Params {
    B: u32, K: u32, S: u32, C: u32,
    x_offset: u32, x_B: u32, x_K: u32, x_S: u32,
    y_offset: u32, y_B: u32, y_S: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let groups = (p.C + 3u) / 4u;
    let i = (wg.y * wgs.x + wg.x) * BLOCK + lane;
    if i >= p.B * p.S * groups {
        return;
    }
    let b = i / (p.S * groups);
    let s = i / groups % p.S;
    let c4 = i % groups;

    let at = p.x_offset + b * p.x_B + s * p.x_S + c4;
    var sum = vec4<f32>(NEUTRAL);
    for (var k = 0u; k < p.K; k++) {
        sum = combine(sum, apply4_pre(load4_x(at + k * p.x_K), (b * p.K + k) * p.S + s, c4));
    }
    let v = apply4_post(finish(sum, p.K), b * p.S + s, c4);
    store4_y(p.y_offset + b * p.y_B + s * p.y_S + c4, v);
}

// columns    y[r, c] = post(x[r, idx[c]]), 0 where idx[c] is past the end of a row of x
//
//   x    [R, C1]  f32 f16 i8 u8  in
//   idx  [C]      u32            in   the column of x for each column of y
//   y    [R, C]   f32 f16 i8 u8  out
//
// An invocation owns four elements of y and picks them one by one. The indices of neighbours lie side by side and
// are the same for every row.

alias x1_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // knob: invocations in a workgroup

struct Params {
    R: u32, C: u32,
    C1: u32, x1_offset: u32, x1_R: u32,
    idx_offset: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read> x1: array<x1_group>;
@group(0) @binding(1) var<storage, read> idx: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

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
        let column = idx[p.idx_offset + c4 * 4u + c];
        if column < p.C1 {
            v[c] = load4_x1(p.x1_offset + r * p.x1_R + (column >> 2u))[column & 3u];
        }
    }
    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(v, r, c4));
}

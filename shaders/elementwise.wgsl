// elementwise    y[r, c] = post(x[r, c])
//
//   x  [R, C]  f32 f16  in
//   y  [R, C]  f32 f16  out
//
// A chain of elementwise ops that found no producer to join. An invocation owns four elements.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // knob: invocations in a workgroup

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32, y_R: u32,
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
    if i >= p.R * groups {
        return;
    }
    let r = i / groups;
    let c4 = i % groups;
    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(load4_x(p.x_offset + r * p.x_R + c4), r, c4));
}

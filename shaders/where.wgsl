// where    y[r, c] = post(cond[r, c] ≠ 0 ? a[r, c] : b[r, c])
//
//   cond  [R, C]  f32 f16 i8 u8  in
//   a     [R, C]  f32 f16        in
//   b     [R, C]  f32 f16 i8 u8  in
//   y     [R, C]  f32 f16        out
//
// An invocation owns four elements. What is broadcast over rows has the row stride 0.

alias cond_group = vec4<f32>; // knob: four elements of cond
alias a_group = vec4<f32>; // knob: four elements of a
alias b_group = vec4<f32>; // knob: four elements of b
alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // knob: invocations in a workgroup

struct Params {
    R: u32, C: u32,
    cond_offset: u32, cond_R: u32,
    a_offset: u32, a_R: u32,
    b_offset: u32, b_R: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read> cond: array<cond_group>;
@group(0) @binding(1) var<storage, read> a: array<a_group>;
@group(0) @binding(2) var<storage, read> b: array<b_group>;
@group(0) @binding(3) var<storage, read_write> y: array<y_group>;
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
    let holds = load4_cond(p.cond_offset + r * p.cond_R + c4) != vec4<f32>(0.0);
    let yes = load4_a(p.a_offset + r * p.a_R + c4);
    let no = load4_b(p.b_offset + r * p.b_R + c4);
    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(select(no, yes, holds), r, c4));
}

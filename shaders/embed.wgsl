// embed    y[r, c] = post(Σ_i table_i[idx_i[r], c]), one to three tables
//
//   idx_i    [R]       u32      in
//   table_i  [V_i, C]  f32 f16  in
//   y        [R, C]    f32 f16  out
//
// An invocation owns four elements. The tables and `rows4` are linked in, by their number.

alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // knob: invocations in a workgroup

struct Params {
    R: u32, C: u32,
    idx0_offset: u32, table0_offset: u32, table0_V: u32, V0: u32,
    idx1_offset: u32, table1_offset: u32, table1_V: u32, V1: u32,
    idx2_offset: u32, table2_offset: u32, table2_V: u32, V2: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<y_group>;
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
    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(rows4(r, c4), r, c4));
}

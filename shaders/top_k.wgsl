// top_k    y[r, k], idx[r, k] = the k-th largest (smallest) of x[r, c] and its c; of equal ones the lowest c first
//
//   x    [R, C]  f32 f16  in
//   y    [R, K]  f32 f16  out
//   idx  [R, K]  u32      out
//
// A workgroup owns a row and selects by lib/select.wgsl. The values are those of the keys, so x is read no more.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const SMALLEST: bool = false; // knob: whether the smallest come first
const SLOTS: u32 = 2u; // knob: K, or the power of two above
const BLOCK: u32 = 256u; // knob: invocations in a workgroup

struct Params {
    R: u32, C: u32, K: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32, y_R: u32,
    idx_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(0) @binding(2) var<storage, read_write> idx: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = wg.y * wgs.x + wg.x;
    if r >= p.R {
        return;
    }
    begin_row(r);
    select_first(p.K, p.K == p.C, 0u, (p.C + 3u) / 4u, lane);
    write_first(r, lane);
}

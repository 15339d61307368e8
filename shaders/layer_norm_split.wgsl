// layer_norm.split, last part    y[r, c] = post((v[r, c] - mean) / sqrt(Σ part[1, r, s] / C + eps) · w[c] + b[c]),
//                                mean = Σ part[0, r, s] / C,  v = pre(x)
//
//   x     [R, C]          f32 f16  in
//   w     [C]             f32 f16  in
//   b     [C]             f32 f16  in
//   part  [2, R, SPLITS]  f32      in   sums of the shares of a row, then their sums of (v - mean)²
//   y     [R, C]          f32 f16  out
//
// A team of LANES invocations owns a share of a row, as in the passes before; every team adds the row's parts up.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias b_group = vec4<f32>; // knob: four elements of b
alias y_group = vec4<f32>; // knob: four elements of y
const SPLITS: u32 = 4u; // knob: shares of a row
const LANES: u32 = 8u; // knob: invocations that do a share, a power of two
const TEAMS: u32 = 1u; // knob: shares side by side in a workgroup

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
    w_offset: u32, b_offset: u32,
    y_offset: u32, y_R: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
@group(0) @binding(2) var<storage, read> b: array<b_group>;
@group(0) @binding(3) var<storage, read> part: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(LANES, TEAMS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let share = share_of((wg.y * wgs.x + wg.x) * TEAMS + index / LANES, index % LANES);
    let r = share.x;
    let width = f32(max(p.C, 1u));
    let mean = part_sum(r, 0u, index) / width;
    let scale = inverseSqrt(part_sum(r, 1u, index) / width + p.eps);
    for (var c4 = share.y; c4 < share.z; c4 += LANES) {
        let v = apply4_pre(load4_x(p.x_offset + r * p.x_R + c4), r, c4);
        let normal = (v - mean) * scale * load4_w(p.w_offset + c4) + load4_b(p.b_offset + c4);
        store4_y(p.y_offset + r * p.y_R + c4, apply4_post(normal, r, c4));
    }
}

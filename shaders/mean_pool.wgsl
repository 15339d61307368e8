// mean_pool    y[b, c] = post(Σ_{s < lengths[b]} x[b, s, c] / lengths[b]); 0 where the length is 0
//
//   x        [B, S, C]  f32 f16  in
//   lengths  [B]        u32      in
//   y        [B, C]     f32 f16  out
//
// An invocation owns four channels of one sequence and adds its rows in order, so the bits do not
// depend on the batch or on padding.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // knob: invocations in a workgroup

struct Params {
    B: u32, S: u32, C: u32,
    x_offset: u32, x_B: u32, x_S: u32,
    lengths_offset: u32,
    y_offset: u32, y_B: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> lengths: array<u32>;
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
    if i >= p.B * groups {
        return;
    }
    let b = i / groups;
    let c4 = i % groups;
    let length = min(lengths[p.lengths_offset + b], p.S);

    var sum = vec4<f32>(0.0);
    for (var s = 0u; s < length; s++) {
        sum += load4_x(p.x_offset + b * p.x_B + s * p.x_S + c4);
    }
    let mean = sum / f32(max(length, 1u));
    store4_y(p.y_offset + b * p.y_B + c4, apply4_post(mean, b, c4));
}

// rms_norm    y[r, c] = post(v[r, c] / sqrt(mean_c(v[r, c]²) + eps) · w[c]),  v = pre(x)
//
//   x  [R, C]  f32 f16  in
//   w  [C]     f32 f16  in
//   y  [R, C]  f32 f16  out
//
// One workgroup per row, which reads it twice: for the sum of squares, kept in f32 whatever the
// storage is, and to write.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // knob: invocations per row, a power of two

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
    w_offset: u32,
    y_offset: u32, y_R: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
@group(0) @binding(2) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

fn value4(r: u32, c4: u32) -> vec4<f32> {
    return apply4_pre(load4_x(p.x_offset + r * p.x_R + c4), r, c4);
}

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
    let groups = (p.C + 3u) / 4u;

    var squares = 0.0;
    for (var c4 = lane; c4 < groups; c4 += BLOCK) {
        let live = vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u < vec4<u32>(p.C);
        let v = select(vec4<f32>(0.0), value4(r, c4), live);
        squares += dot(v, v);
    }
    let scale = inverseSqrt(workgroup_sum(squares, lane) / f32(p.C) + p.eps);

    for (var c4 = lane; c4 < groups; c4 += BLOCK) {
        let v = value4(r, c4) * scale * load4_w(p.w_offset + c4);
        store4_y(p.y_offset + r * p.y_R + c4, apply4_post(v, r, c4));
    }
}

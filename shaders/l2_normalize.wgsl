// l2_normalize    y[r, c] = post(v[r, c] / max(sqrt(Σ_c v[r, c]²), eps)),  v = pre(x)
//
//   x  [R, C]  f32 f16  in
//   y  [R, C]  f32 f16  out
//
// One workgroup per row, which reads it twice.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // knob: invocations per row, a power of two

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32, y_R: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
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
    // WGSL's sqrt(0) inherits from 1/inverseSqrt(0), which promises nothing; eps is at least 1e-18.
    let norm = max(sqrt(max(workgroup_sum(squares, lane), 1e-36)), p.eps);

    for (var c4 = lane; c4 < groups; c4 += BLOCK) {
        store4_y(p.y_offset + r * p.y_R + c4, apply4_post(value4(r, c4) / norm, r, c4));
    }
}

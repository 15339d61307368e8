// copy    y[r, c] = x at linear index r·C + c of its shape (n0, …, n5)
//
//   x  [n0, …, n5]  f32 f16 i8 u8  in   any strides s0 … s5, in elements
//   y  [R, C]       f32 f16 i8 u8  out
//
// For views that strides cannot say, or that kernels cannot read in groups of four. An invocation
// owns four elements of y and gathers them one by one.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // knob: invocations in a workgroup

struct Params {
    R: u32, C: u32,
    n1: u32, n2: u32, n3: u32, n4: u32, n5: u32,
    x_offset: u32, s0: u32, s1: u32, s2: u32, s3: u32, s4: u32, s5: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

fn element(i: u32) -> f32 {
    let i4 = i / p.n5;
    let i3 = i4 / p.n4;
    let i2 = i3 / p.n3;
    let i1 = i2 / p.n2;
    let i0 = i1 / p.n1;
    let inner = i3 % p.n3 * p.s3 + i4 % p.n4 * p.s4 + i % p.n5 * p.s5;
    let at = p.x_offset + i0 * p.s0 + i1 % p.n1 * p.s1 + i2 % p.n2 * p.s2 + inner;
    return load4_x(at >> 2u)[at & 3u];
}

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
        v[c] = element(r * p.C + c4 * 4u + c);
    }
    store4_y(p.y_offset + r * p.y_R + c4, v);
}

// copy_rows    x[pairs[n, 1]] = x[pairs[n, 0]] for n = 0, 1, … in order; all else stays
//
//   pairs  [N, 2]     u32            in   rows; a pair with one past the end does nothing
//   x      [V, R, C]  f32 f16 i8 u8  changed
//
// An invocation owns the same four elements of every row, as bits, so that order is order.

alias x_group = vec4<f32>; // knob: four elements of x

struct Params {
    N: u32, V: u32, R: u32, C: u32,
    pairs_offset: u32,
    x_offset: u32, x_V: u32, x_R: u32,
}

@group(0) @binding(0) var<storage, read> pairs: array<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<x_group>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let groups = (p.C + 3u) / 4u;
    let i = (wg.y * wgs.x + wg.x) * 64u + lane;
    if i >= p.R * groups {
        return;
    }
    let own = p.x_offset + i / groups * p.x_R + i % groups;
    for (var n = 0u; n < p.N; n++) {
        let source = pairs[p.pairs_offset + 2u * n];
        let to = pairs[p.pairs_offset + 2u * n + 1u];
        if source < p.V && to < p.V {
            x[own + to * p.x_V] = x[own + source * p.x_V];
        }
    }
}

// attention.matrix, part 1    qh[b, g, row, d] = q[b, s, h, d] · 2^-e(q[b, s, h])
//
//   q   [B, S, H, D]  f32 f16  in
//   qh  [B · G · rows + TILE, DP + 8]  f16  out  groups of four along D, zeros behind the last of q, e behind DP
//
// A row counts over the heads of g and their queries. An invocation does one, which it reads twice, from cache the
// second time. Eight elements behind a row keep all of them from lying a power of two apart.

alias q_group = vec4<f32>; // knob: four elements of q
const TILE: u32 = 64u; // knob: rows of a tile, and rows behind the last, for matrices that end there
const DP4: u32 = 16u; // knob: groups of D, padded to whole matrices
const D4: u32 = 5u; // knob: groups of D
const TAIL: bool = false; // knob: whether the last of them is not full

struct Params {
    B: u32, S: u32, H: u32, G: u32, D: u32,
    q_offset: u32, q_B: u32, q_S: u32, q_H: u32,
    qh_row: u32,
}

@group(0) @binding(0) var<storage, read> q: array<q_group>;
@group(0) @binding(1) var<storage, read_write> qh: array<vec2<u32>>;
@group(1) @binding(0) var<uniform> p: Params;

fn element4(b: u32, g: u32, row: u32, d4: u32) -> vec4<f32> {
    return query4(b, row_of(row, g), d4);
}

fn put(at: u32, four: vec2<u32>) {
    qh[at] = four;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows = p.S * (p.H / p.G);
    let id = (wg.y * wgs.x + wg.x) * 64u + lane;
    let all = p.B * p.G * rows;
    if id < all {
        // its own, and what is behind the last row
        for (var i = id; i < all + TILE; i += all) {
            stage_row(id / rows / p.G, id / rows % p.G, id % rows, i * p.qh_row);
        }
    }
}

// attention.matrix, part 2    kh[b, g, t, d] = k[b, t, g, d] · 2^-e(k[b, t, g])
//
//   k      [B, T, G, D]  f32 f16  in, or rows of a quantised cache; with pages [N, PAGE, G, D]
//   lengths  [B]         u32      in, may be left out
//   pages  [B, 1 + T / PAGE]  u32  in, may be left out
//   kh     [B · G · T + TILE, DP + 8]  f16  out  groups of four along D, zeros behind the last of k, e behind DP
//
// As the first part does it, of all T keys; what lies behind a sequence's end is not read, and 0.

alias k_group = vec4<f32>; // knob: four elements of k
const TILE: u32 = 32u; // knob: keys of a tile, and rows behind the last, for matrices that end there
const DP4: u32 = 16u; // knob: groups of D, padded to whole matrices
const D4: u32 = 5u; // knob: groups of D
const TAIL: bool = false; // knob: whether the last of them is not full

struct Params {
    B: u32, T: u32, G: u32, D: u32,
    k_offset: u32, k_B: u32, k_T: u32, k_G: u32,
    lengths_offset: u32, pages_offset: u32, pages_B: u32, N: u32,
    kh_row: u32,
}

@group(0) @binding(0) var<storage, read> k: array<k_group>;
@group(0) @binding(1) var<storage, read_write> kh: array<vec2<u32>>;
@group(1) @binding(0) var<uniform> p: Params;

fn element4(b: u32, g: u32, row: u32, d4: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    if row < kv_length(b) {
        let at = k_row(b, row) + g * p.k_G;
        var scale = 1.0;
        //@if k_scaled
        scale = scale_k(at, d4 / 8u);
        v = whole4(four_k(at, d4, scale), d4);
    }
    return v;
}

fn put(at: u32, four: vec2<u32>) {
    kh[at] = four;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows = p.T;
    let id = (wg.y * wgs.x + wg.x) * 64u + lane;
    let all = p.B * p.G * rows;
    if id < all {
        // its own, and what is behind the last row
        for (var i = id; i < all + TILE; i += all) {
            stage_row(id / rows / p.G, id / rows % p.G, id % rows, i * p.kh_row);
        }
    }
}

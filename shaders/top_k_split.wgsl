// top_k.split, last part    y[r, k], idx[r, k] = value and place of the k-th of what the shares of a row left
//
//   part  [R, SPLITS, 2, K]  u32      in
//   y     [R, K]             f32 f16  out
//   idx   [R, K]             u32      out
//
// A workgroup owns a row and selects by lib/select.wgsl.

alias y_group = vec4<f32>; // knob: four elements of y
const SMALLEST: bool = false; // knob: whether the smallest come first
const SPLITS: u32 = 4u; // knob: shares of a row
const SLOTS: u32 = 2u; // knob: K, or the power of two above
const BLOCK: u32 = 256u; // knob: invocations in a workgroup

struct Params {
    R: u32, C: u32, K: u32,
    y_offset: u32, y_R: u32,
    idx_offset: u32,
}

@group(0) @binding(0) var<storage, read> part: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(0) @binding(2) var<storage, read_write> idx: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

// What the shares of the row left.
var<private> row_start: u32;

// A candidate's key, or its place. Without a return in between, with which SwiftShader takes long to compile it.
fn candidate(i: u32, half: u32) -> u32 {
    let at = min(i, SPLITS * p.K - 1u);
    let found = part[row_start + (at / p.K * 2u + half) * p.K + at % p.K];
    return select(found, 0u, i > at);
}

fn keys4(g: u32) -> vec4<u32> {
    let i = g * 4u;
    return vec4<u32>(candidate(i, 0u), candidate(i + 1u, 0u), candidate(i + 2u, 0u), candidate(i + 3u, 0u));
}

fn places4(g: u32) -> vec4<u32> {
    let i = g * 4u;
    return vec4<u32>(candidate(i, 1u), candidate(i + 1u, 1u), candidate(i + 2u, 1u), candidate(i + 3u, 1u));
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
    row_start = r * SPLITS * 2u * p.K;
    select_first(p.K, p.K == p.C, 0u, (SPLITS * p.K + 3u) / 4u, lane);
    write_first(r, lane);
}

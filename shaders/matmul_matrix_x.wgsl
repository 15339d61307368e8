// matmul.matrix, part 1   xh[b, m, k] = x[b, m, k] · 2^(ONE - xe[b, m]), xe[b, m] = exponent of max_k |x[b, m, k]|
//
//   x   [B, M, K]    f32 f16  in   groups of four along K
//   xh  [B, MP, KP]  f16      out  groups of four along K, zeros where x has nothing
//   xe  [B, MP]      u32      out  as in the bits of an f32; ONE for a row of which nothing reaches LEAST
//
// One workgroup per row, which it reads twice, from cache the second time. A power of two makes f16 of any
// f32 without overflow and rounds nothing itself.

alias x_group = vec4<f32>; // knob: four elements of x
const BLOCK: u32 = 64u; // invocations per row, a power of two
const TILE: u32 = 64u; // knob: rows of a tile
const MP: u32 = 64u; // knob: rows of xh that belong to a b

struct Params {
    B: u32, M: u32, K: u32,
    x_offset: u32, x_B: u32, x_M: u32,
    xh_row: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> xh: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> xe: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

fn value4(b: u32, m: u32, k4: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(select(0u, p.K, m < p.M));
    let at = min(k4, (max(p.K, 1u) - 1u) / 4u);
    let v = load4_x(p.x_offset + b * p.x_B + min(m, p.M - 1u) * p.x_M + at);
    return select(vec4<f32>(0.0), v, live);
}

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows = (p.M + TILE - 1u) / TILE * TILE;
    let row = wg.y * wgs.x + wg.x;
    let b = row / max(rows, 1u);
    let m = row % max(rows, 1u);
    if b >= p.B {
        return;
    }
    let k4s = (p.K + 15u) / 16u * 4u;
    var most = vec4<f32>(0.0);
    for (var k4 = lane; k4 < k4s; k4 += BLOCK) {
        most = max(most, abs(value4(b, m, k4)));
    }
    let largest = workgroup_max(max(max(most.x, most.y), max(most.z, most.w)), lane);
    let scale = staged_scale(largest);
    for (var k4 = lane; k4 < k4s; k4 += BLOCK) {
        xh[(b * MP + m) * p.xh_row + k4] = staged4(value4(b, m, k4) * scale);
    }
    if lane == 0u {
        xe[b * MP + m] = staged_exponent(largest);
    }
}

// matmul.matrix, part 2   wh[b, n, k] = w[b, n, k] · 2^(ONE - we[b, n]), we[b, n] = exponent of max_k |w[b, n, k]|
//
//   w        [B, N, K]    f32 f16 bf16 i8 u8 blocks  in   groups of four along K
//   w_scale  [N, K]       f32                 in   of i8 and u8: an element for a tensor, column or group
//   w_zero   [N, K]       i8 u8               in   likewise, may be left out
//   wh       [B, NP, KP]  f16                 out  groups of four along K, zeros where w has nothing
//   we       [B, NP]      u32                 out  as in the bits of an f32; ONE if nothing reaches LEAST
//
// As the first part does it. So that many rows of x share it, weights are taken apart once; the scale of a
// tensor or column still waits for the sum.

alias w_group = vec4<f32>; // knob: four elements of w
const BLOCK: u32 = 64u; // invocations per column, a power of two
const TILE: u32 = 64u; // knob: columns of a tile
const NP: u32 = 64u; // knob: rows of wh that belong to a b
const BLOCK4: u32 = 8u; // knob: groups of four in a block of w that shares a scale

struct Params {
    B: u32, N: u32, K: u32,
    w_offset: u32, w_B: u32, w_N: u32, w_K: u32,
    w_scale_offset: u32, w_scale_N: u32, w_scale_K: u32,
    w_zero_offset: u32, w_zero_N: u32, w_zero_K: u32,
    wh_row: u32,
}

@group(0) @binding(0) var<storage, read> w: array<w_group>;
@group(0) @binding(1) var<storage, read_write> wh: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> we: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

fn value4(b: u32, n: u32, k4: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(select(0u, p.K, n < p.N));
    let at = min(k4, (max(p.K, 1u) - 1u) / 4u);
    let column = min(n, p.N - 1u);
    let v = load_w(w_column(b, column) + at * w_step(column), block_of(at / BLOCK4, column, 0u));
    return select(vec4<f32>(0.0), v, live);
}

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = (p.N + TILE - 1u) / TILE * TILE;
    let row = wg.y * wgs.x + wg.x;
    let b = row / max(columns, 1u);
    let n = row % max(columns, 1u);
    if b >= p.B {
        return;
    }
    let k4s = (p.K + 15u) / 16u * 4u;
    var most = vec4<f32>(0.0);
    for (var k4 = lane; k4 < k4s; k4 += BLOCK) {
        most = max(most, abs(value4(b, n, k4)));
    }
    let largest = workgroup_max(max(max(most.x, most.y), max(most.z, most.w)), lane);
    let scale = staged_scale(largest);
    for (var k4 = lane; k4 < k4s; k4 += BLOCK) {
        wh[(b * NP + n) * p.wh_row + k4] = staged4(value4(b, n, k4) * scale);
    }
    if lane == 0u {
        we[b * NP + n] = staged_exponent(largest);
    }
}

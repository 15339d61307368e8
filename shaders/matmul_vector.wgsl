// matmul.vector    y[b, m, n] = post(scale · Σ_k x[b, m, k] · w[b, n, k]), for few rows
//
//   x        [B, M, K]  f32 f16            in   groups of four along K
//   w        [B, N, K]  f32 f16 i8 u8 q8_0  in   groups of four along K; w_N and w_K say where they lie
//   w_scale  [N, K]     f32                in   of i8 and u8: an element for a tensor, column or group
//   w_zero   [N, K]     i8 u8              in   likewise, may be left out
//   y        [B, M, N]  f32 f16            out  groups of four along N
//
// The weights are read once for ROWS rows, and reading them is all the work there is. A workgroup
// owns ROWS rows and 4·LANES columns; its PARTS rows of invocations share out K, and their sums
// meet in workgroup memory in a fixed order. Each sum depends on its own row only.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const ROWS: u32 = 4u; // knob: rows that share a weight
const LANES: u32 = 8u; // invocations along N
const PARTS: u32 = 16u; // invocations along K
const BLOCK4: u32 = 8u; // knob: groups of four in a block of w that shares a scale

struct Params {
    B: u32, M: u32, N: u32, K: u32,
    x_offset: u32, x_B: u32, x_M: u32,
    w_offset: u32, w_B: u32, w_N: u32, w_K: u32,
    w_scale_offset: u32, w_scale_N: u32, w_scale_K: u32,
    w_zero_offset: u32, w_zero_N: u32, w_zero_K: u32,
    y_offset: u32, y_B: u32, y_M: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
@group(0) @binding(2) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> sums: array<vec4<f32>, ROWS * LANES * PARTS>;

@compute @workgroup_size(LANES, PARTS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
) {
    let tiles_m = (p.M + ROWS - 1u) / ROWS;
    let tiles_n = (p.N + LANES * 4u - 1u) / (LANES * 4u);
    let tile = wg.y * wgs.x + wg.x;
    let b = tile / (tiles_m * tiles_n);
    if b >= p.B {
        return;
    }
    let m0 = tile / tiles_n % tiles_m * ROWS;
    let c4 = tile % tiles_n * LANES + lane.x;

    var acc: array<vec4<f32>, ROWS>;
    if c4 * 4u < p.N {
        let x_base = p.x_offset + b * p.x_B;
        let w_base = p.w_offset + b * p.w_B;
        for (var k4 = lane.y; k4 * 4u < p.K; k4 += PARTS) {
            let live = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.K - k4 * 4u);
            var ws: array<vec4<f32>, 4>;
            //@unroll c 0..4
            for (var c = 0u; c < 4u; c++) {
                let n = min(c4 * 4u + c, p.N - 1u);
                let v = load_w(w_base + n * p.w_N + k4 * p.w_K, block_of(k4 / BLOCK4, n));
                ws[c] = select(vec4<f32>(0.0), v, live);
            }
            //@unroll i 0..ROWS
            for (var i = 0u; i < ROWS; i++) {
                let xs = select(vec4<f32>(0.0), load4_x(x_base + min(m0 + i, p.M - 1u) * p.x_M + k4), live);
                acc[i] += vec4<f32>(dot(xs, ws[0]), dot(xs, ws[1]), dot(xs, ws[2]), dot(xs, ws[3]));
            }
        }
    }
    //@unroll i 0..ROWS
    for (var i = 0u; i < ROWS; i++) {
        sums[(lane.y * ROWS + i) * LANES + lane.x] = acc[i];
    }
    workgroupBarrier(); // every part's sums are there

    let i = lane.y;
    if i < ROWS && m0 + i < p.M && c4 * 4u < p.N {
        var total = vec4<f32>(0.0);
        for (var part = 0u; part < PARTS; part++) {
            total += sums[(part * ROWS + i) * LANES + lane.x];
        }
        let v = apply4_post(total * column_scale4(c4), b * p.M + m0 + i, c4);
        store4_y(p.y_offset + b * p.y_B + (m0 + i) * p.y_M + c4, v);
    }
}

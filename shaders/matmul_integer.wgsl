// matmul_integer.tile    y[b, m, n] = post(Σ_k (x[b, m, k] - x_zero[b, m]) · (w[b, n, k] - w_zero[n]))
//
//   x       [B, M, K]  i8 u8        in   groups of four along K
//   w       [B, N, K]  i8 u8        in   groups of four along K
//   x_zero  [B, M, 1]  i8 u8        in   may be left out, or one for all
//   w_zero  [N]        i8 u8        in   likewise
//   y       [B, M, N]  i32, or what a chain makes of it  out  groups of four along N
//
// An invocation owns TM rows and a group of four columns, all in registers; a workgroup is LANES invocations side
// by side along N. Sums are whole numbers and exact: four products are one instruction, and zero points are taken
// off at the end, by the sums of rows and of columns. uint8 is int8 moved down by 128, which is one more zero
// point. What is read past the end of K counts as 0; rows and columns past the end are read from the last one
// and never written.

alias x_group = u32; // knob: four elements of x
alias w_group = u32; // knob: four elements of w
alias y_group = vec4<i32>; // knob: four elements of y
const TM: u32 = 8u; // rows per invocation
const LANES: u32 = 32u; // invocations, all along N
const X_MOVED: bool = false; // knob: whether x is uint8
const W_MOVED: bool = false; // knob: whether w is uint8
const WHOLE: bool = true; // knob: whether y is the sums
const CHAINED: bool = false; // knob: whether it is what a chain makes of them
const ONES: u32 = 0x01010101u;

struct Params {
    B: u32, M: u32, N: u32, K: u32,
    x_offset: u32, x_B: u32, x_M: u32,
    w_offset: u32, w_B: u32, w_N: u32, w_K: u32,
    x_zero_offset: u32, x_zero_B: u32, x_zero_M: u32,
    w_zero_offset: u32, w_zero_N: u32, w_zero_K: u32,
    y_offset: u32, y_B: u32, y_M: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
@group(0) @binding(2) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles_m = (p.M + TM - 1u) / TM;
    let tiles_n = (p.N + LANES * 4u - 1u) / (LANES * 4u);
    let tile = wg.y * wgs.x + wg.x;
    let b = tile / (tiles_m * tiles_n);
    let m0 = tile % tiles_m * TM;
    let c4 = tile / tiles_m % tiles_n * LANES + lane;
    if b >= p.B || c4 * 4u >= p.N {
        return;
    }

    var row: array<u32, TM>;
    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        row[i] = p.x_offset + b * p.x_B + min(m0 + i, p.M - 1u) * p.x_M;
    }
    var n: array<u32, 4>;
    var column: array<u32, 4>;
    //@unroll c 0..4
    for (var c = 0u; c < 4u; c++) {
        n[c] = min(c4 * 4u + c, p.N - 1u);
        column[c] = w_column(b, n[c]);
    }

    let along = w_step(c4 * 4u); // four columns lie in one panel
    let x_taken = select(0u, 0x80808080u, X_MOVED);
    let w_taken = vec4<u32>(select(0u, 0x80808080u, W_MOVED));
    var acc: array<vec4<i32>, TM>;
    var sum_x: array<i32, TM>;
    var sum_w = vec4<i32>(0);
    for (var k4 = 0u; k4 * 4u < p.K; k4++) {
        let live = select(0xffffffffu, (1u << (p.K % 4u * 8u)) - 1u, k4 == p.K / 4u);
        let at = k4 * along;
        let read = vec4<u32>(w[column[0] + at], w[column[1] + at], w[column[2] + at], w[column[3] + at]);
        let ws = (read ^ w_taken) & vec4<u32>(live);
        sum_w += vec4<i32>(
            dot4I8Packed(ws.x, ONES), dot4I8Packed(ws.y, ONES),
            dot4I8Packed(ws.z, ONES), dot4I8Packed(ws.w, ONES),
        );
        //@unroll i 0..TM
        for (var i = 0u; i < TM; i++) {
            let xw = (x[row[i] + k4] ^ x_taken) & live;
            acc[i] += vec4<i32>(
                dot4I8Packed(xw, ws.x), dot4I8Packed(xw, ws.y),
                dot4I8Packed(xw, ws.z), dot4I8Packed(xw, ws.w),
            );
            sum_x[i] += dot4I8Packed(xw, ONES);
        }
    }

    let zeros = vec4<f32>(zero_at(0u, n[0]), zero_at(0u, n[1]), zero_at(0u, n[2]), zero_at(0u, n[3]));
    let zw = vec4<i32>(zeros) - vec4<i32>(select(0, 128, W_MOVED));
    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        if m0 + i < p.M {
            let zx = x_zero_at(b, m0 + i) - select(0, 128, X_MOVED);
            let whole = acc[i] - sum_w * zx - zw * (sum_x[i] - zx * i32(p.K));
            let to = p.y_offset + b * p.y_B + (m0 + i) * p.y_M + c4;
            //@if WHOLE
            y[to] = whole;
            //@if CHAINED
            store4_y(to, apply4_post(vec4<f32>(whole), b * p.M + m0 + i, c4));
        }
    }
}

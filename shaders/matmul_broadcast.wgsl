// matmul.broadcast    y[b, m, n] = post(scale · Σ_k x[b, m, k] · w[b, n, k])
//
//   x        [B, M, K]  f32 f16            in   groups of four along K
//   w        [B, N, K]  f32 f16 bf16 i8 u8 blocks  in   groups of four along K
//   w_scale  [N, K]     f32                in   of i8 and u8: an element for a tensor, column or group
//   w_zero   [N, K]     i8 u8              in   likewise, may be left out
//   y        [B, M, N]  f32 f16            out  groups of four along N
//
// A workgroup is one subgroup of LANES and owns ROWS = XS * LANES rows. Each lane owns TN4 groups of four
// columns of all of them, in registers, and loads XS rows of x, of which no other lane loads one: lanes
// hand them to each other. A tile so costs XS + 4 * TN4 loads of a lane for 4 * ROWS * TN4 vector
// multiplications, where a load is dear (llvmpipe: as much as a hundred multiplications) and a
// broadcast is not. Rows and columns past the end are read from the last one and never written; all
// lanes of a workgroup go the same way up to the last broadcast. The last group of four along K is masked
// like all others: a second copy of the loop for it is no faster, and twice as much to compile. Weights whose
// padding is numbers need no mask, since that of x is 0 there.
// Sums are f32, k ascending, so a row's bits do not depend on the other rows.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const XS: u32 = 1u; // knob: rows of x that a lane loads
const TN4: u32 = 1u; // knob: groups of four columns of a lane
const LANES: u32 = 32u; // knob: lanes of a subgroup, all along N
const BLOCK4: u32 = 8u; // knob: groups of four in a block of w that shares a scale
const ROWS: u32 = 32u; // knob: XS * LANES, rows of a tile

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

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tiles_m = (p.M + ROWS - 1u) / ROWS;
    let tiles_n = (p.N + LANES * TN4 * 4u - 1u) / (LANES * TN4 * 4u);
    let tile = wg.y * wgs.x + wg.x;
    let b = tile / (tiles_m * tiles_n);
    let m0 = tile % tiles_m * ROWS;
    let first4 = tile / tiles_m % tiles_n * LANES * TN4;
    let n4 = first4 + lane;
    if b >= p.B {
        return;
    }

    var x_row: array<u32, XS>;
    //@unroll i 0..XS
    for (var i = 0u; i < XS; i++) {
        x_row[i] = p.x_offset + b * p.x_B + min(m0 + i * LANES + lane, p.M - 1u) * p.x_M;
    }
    var n: array<u32, TN4 * 4u>;
    var column: array<u32, TN4 * 4u>;
    //@unroll j 0..TN4
    for (var j = 0u; j < TN4; j++) {
        //@unroll c 0..4
        for (var c = 0u; c < 4u; c++) {
            n[j * 4u + c] = min((n4 + j * LANES) * 4u + c, p.N - 1u);
            column[j * 4u + c] = w_column(b, n[j * 4u + c]);
        }
    }

    let along = w_step(first4 * 4u); // a tile lies in one panel
    var acc: array<vec4<f32>, ROWS * TN4>;
    let k4s = (p.K + 3u) / 4u;
    for (var k4 = 0u; k4 < k4s; k4++) {
        let live = vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(p.K);
        var xs: array<vec4<f32>, XS>;
        //@unroll i 0..XS
        for (var i = 0u; i < XS; i++) {
            xs[i] = select(vec4<f32>(0.0), load4_x(x_row[i] + k4), live);
        }
        var ws: array<vec4<f32>, TN4 * 4u>;
        //@unroll j 0..TN4
        for (var j = 0u; j < TN4; j++) {
            //@unroll c 0..4
            for (var c = 0u; c < 4u; c++) {
                let at = j * 4u + c;
                let v = load_w(column[at] + k4 * along, block_of(k4 / BLOCK4, n[at], 0u));
                ws[j * 4u + c] = v;
                if !PADDED {
                    ws[j * 4u + c] = select(vec4<f32>(0.0), v, live);
                }
            }
        }
        //@unroll i 0..XS
        for (var i = 0u; i < XS; i++) {
            //@unroll r 0..LANES
            for (var r = 0u; r < LANES; r++) {
                let xr = subgroupBroadcast(xs[i], r);
                //@unroll j 0..TN4
                for (var j = 0u; j < TN4; j++) {
                    let at = (i * LANES + r) * TN4 + j;
                    let w0 = j * 4u;
                    //@unroll k 0..4
                    for (var k = 0u; k < 4u; k++) {
                        let w_k = vec4<f32>(ws[w0][k], ws[w0 + 1u][k], ws[w0 + 2u][k], ws[w0 + 3u][k]);
                        acc[at] = fma(vec4<f32>(xr[k]), w_k, acc[at]);
                    }
                }
            }
        }
    }

    //@unroll i 0..ROWS
    for (var i = 0u; i < ROWS; i++) {
        if m0 + i < p.M {
            //@unroll j 0..TN4
            for (var j = 0u; j < TN4; j++) {
                let c4 = n4 + j * LANES;
                if c4 * 4u < p.N {
                    let v = apply4_post(acc[i * TN4 + j] * column_scale4(c4), b * p.M + m0 + i, c4);
                    store4_y(p.y_offset + b * p.y_B + (m0 + i) * p.y_M + c4, v);
                }
            }
        }
    }
}

// matmul.tile    y[b, m, n] = post(scale · Σ_k x[b, m, k] · w[b, n, k])
//
//   x        [B, M, K]  f32 f16            in   groups of four along K
//   w        [B, N, K]  f32 f16 bf16 i8 u8 blocks  in   groups of four along K
//   w_scale  [N, K]     f32                in   of i8 and u8: an element for a tensor, column or group
//   w_zero   [N, K]     i8 u8              in   likewise, may be left out
//   y        [B, M, N]  f32 f16            out  groups of four along N
//
// An invocation owns TM rows and TN4 groups of four columns, all in registers; a workgroup is LANES
// invocations side by side along N, so all of them read the same x (one load serves the subgroup
// where the driver sees that it is uniform) and, with w in panels, neighbouring groups
// of w. No workgroup memory: what tiles share, caches serve, and tiles that follow each other share
// their columns of w. Rows and columns past the end are read from the last one and never written.
// Sums are f32, k ascending, so a row's bits do not depend on the other rows.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const TM: u32 = 16u; // knob: rows per invocation
const TN4: u32 = 1u; // knob: groups of four columns per invocation
const LANES: u32 = 32u; // knob: invocations, all along N
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

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles_m = (p.M + TM - 1u) / TM;
    let tiles_n = (p.N + LANES * TN4 * 4u - 1u) / (LANES * TN4 * 4u);
    let tile = wg.y * wgs.x + wg.x;
    let b = tile / (tiles_m * tiles_n);
    let m0 = tile % tiles_m * TM;
    let first4 = tile / tiles_m % tiles_n * LANES * TN4;
    let n4 = first4 + lane;
    if b >= p.B || n4 * 4u >= p.N {
        return;
    }

    var x_row: array<u32, TM>;
    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        x_row[i] = p.x_offset + b * p.x_B + min(m0 + i, p.M - 1u) * p.x_M;
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

    // Whole groups of four along K, then, masked, what is left: written once, unrolled twice, so
    // that the first loop has no masks.
    var acc: array<vec4<f32>, TM * TN4>;
    let along = w_step(first4 * 4u); // a tile lies in one panel
    let whole = p.K / 4u;
    //@unroll rest 0..2
    for (var rest = 0u; rest < 2u; rest++) {
        let end = select(whole, (p.K + 3u) / 4u, rest == 1u);
        for (var k4 = select(0u, whole, rest == 1u); k4 < end; k4++) {
            let live = vec4<bool>(rest == 0u) | (vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(p.K));
            var xs: array<vec4<f32>, TM>;
            //@unroll i 0..TM
            for (var i = 0u; i < TM; i++) {
                xs[i] = select(vec4<f32>(0.0), load4_x(x_row[i] + k4), live);
            }
            //@unroll j 0..TN4
            for (var j = 0u; j < TN4; j++) {
                var ws: array<vec4<f32>, 4>;
                //@unroll c 0..4
                for (var c = 0u; c < 4u; c++) {
                    let at = j * 4u + c;
                    let v = load_w(column[at] + k4 * along, block_of(k4 / BLOCK4, n[at], 0u));
                    ws[c] = select(vec4<f32>(0.0), v, live);
                }
                //@unroll i 0..TM
                for (var i = 0u; i < TM; i++) {
                    //@unroll k 0..4
                    for (var k = 0u; k < 4u; k++) {
                        let w_k = vec4<f32>(ws[0][k], ws[1][k], ws[2][k], ws[3][k]);
                        acc[i * TN4 + j] = fma(vec4<f32>(xs[i][k]), w_k, acc[i * TN4 + j]);
                    }
                }
            }
        }
    }

    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
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

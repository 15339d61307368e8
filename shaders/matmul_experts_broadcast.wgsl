// matmul_experts.broadcast    y[m, u, c] = post(Σ_k x[m, u, k] · w[e, c, k]), e = ids[m, u]
//
//   x        [M, K] or [M, U, K]  f32 f16              in   groups of four along K
//   w        [E, C, K]            f32 f16 bf16 blocks  in   as [N, K], N = E · C, groups of four along K
//   y        [M, U, C]            f32 f16              out  groups of four along C
//   starts   [E + 1]              u32                  in   how many pairs have an expert before e
//   order    [M, U]               u32                  in   the pairs m · U + u, sorted by expert
//
// Or, with `up` of the shape of w behind it in the same buffer, act(Σ_k x · w) · Σ_k x · up, N = 2 · E · C.
// Tiles are shared out as in matmul_experts.tile; inside one, lanes of a subgroup hand each other rows of x, as in
// matmul.broadcast, and so have few loads for many products. All lanes go the same way up to the last broadcast.
// Sums are f32, k ascending, so a row's bits do not depend on the other rows.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const XS: u32 = 1u; // knob: rows of x that a lane loads
const TN4: u32 = 1u; // knob: groups of four columns of a lane
const LANES: u32 = 32u; // knob: lanes of a subgroup, all along C
const ROWS: u32 = 32u; // knob: XS * LANES, rows of a tile
const SHARE: u32 = 16u; // knob: pairs for each workgroup of a strip
const BLOCK4: u32 = 8u; // knob: groups of four in a block of w that shares a scale

struct Params {
    M: u32, U: u32, E: u32, C: u32, N: u32, K: u32,
    x_offset: u32, x_M: u32, x_U: u32,
    w_offset: u32, w_B: u32, w_N: u32, w_K: u32,
    y_offset: u32, y_M: u32, y_U: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
@group(0) @binding(2) var<storage, read_write> y: array<y_group>;
@group(0) @binding(3) var<storage, read> starts: array<u32>;
@group(0) @binding(4) var<storage, read> order: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

// The tile of an expert's pairs order[first] up to order[end], of which it takes the first ROWS.
fn tile(e: u32, first: u32, end: u32, n4: u32, lane: u32) {
    var x_row: array<u32, XS>;
    //@unroll i 0..XS
    for (var i = 0u; i < XS; i++) {
        let pair = order[min(first + i * LANES + lane, end - 1u)];
        x_row[i] = p.x_offset + pair / p.U * p.x_M + pair % p.U * p.x_U;
    }
    let k4s = select(0u, (p.K + 3u) / 4u, e < p.E);
    var v: array<vec4<f32>, ROWS * TN4>;
    for (var half = 0u; half < HALVES; half++) {
        let n0 = (half * p.E + e) * p.C;
        var n: array<u32, TN4 * 4u>;
        var column: array<u32, TN4 * 4u>;
        var step: array<u32, TN4 * 4u>;
        //@unroll j 0..TN4
        for (var j = 0u; j < TN4; j++) {
            //@unroll c 0..4
            for (var c = 0u; c < 4u; c++) {
                n[j * 4u + c] = n0 + min((n4 + j * LANES) * 4u + c, p.C - 1u);
                column[j * 4u + c] = w_column(0u, n[j * 4u + c]);
                step[j * 4u + c] = w_step(n[j * 4u + c]);
            }
        }
        var acc = array<vec4<f32>, ROWS * TN4>();
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
                    let loaded = load_w(column[at] + k4 * step[at], block_of(k4 / BLOCK4, n[at], 0u));
                    ws[j * 4u + c] = loaded;
                    if !PADDED {
                        ws[j * 4u + c] = select(vec4<f32>(0.0), loaded, live);
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
            //@unroll j 0..TN4
            for (var j = 0u; j < TN4; j++) {
                let at = i * TN4 + j;
                v[at] = select(gated(v[at], acc[at]), acc[at], half == 0u);
            }
        }
    }

    //@unroll i 0..ROWS
    for (var i = 0u; i < ROWS; i++) {
        if first + i < end {
            let pair = order[first + i];
            //@unroll j 0..TN4
            for (var j = 0u; j < TN4; j++) {
                let c4 = n4 + j * LANES;
                if c4 * 4u < p.C {
                    let at = p.y_offset + pair / p.U * p.y_M + pair % p.U * p.y_U + c4;
                    store4_y(at, apply4_post(v[i * TN4 + j], pair, c4));
                }
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let pairs = p.M * p.U;
    let walkers = max((pairs + SHARE - 1u) / SHARE, 1u);
    let at = wg.y * wgs.x + wg.x;
    let strip = at / walkers * LANES * TN4;
    if strip * 4u >= p.C {
        return;
    }
    var left = at % walkers; // tiles to pass by
    for (var e = 0u; e <= p.E; e++) {
        let begin = starts[e];
        let end = select(pairs, starts[min(e + 1u, p.E)], e < p.E);
        let tiles = (end - begin + ROWS - 1u) / ROWS;
        for (; left < tiles; left += walkers) {
            tile(e, begin + left * ROWS, end, strip + lane, lane);
        }
        left -= tiles;
    }
}

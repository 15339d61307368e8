// matmul_experts.tile    y[m, u, c] = post(Σ_k x[m, u, k] · w[e, c, k]), e = ids[m, u]
//
//   x        [M, K] or [M, U, K]  f32 f16              in   groups of four along K
//   w        [E, C, K]            f32 f16 bf16 blocks  in   as [N, K], N = E · C, groups of four along K
//   y        [M, U, C]            f32 f16              out  groups of four along C
//   starts   [E + 1]              u32                  in   how many pairs have an expert before e
//   order    [M, U]               u32                  in   the pairs m · U + u, sorted by expert
//
// Or, with `up` of the shape of w behind it in the same buffer, act(Σ_k x · w) · Σ_k x · up, N = 2 · E · C.
// As matmul.tile, but that the TM rows of a tile are pairs of one expert. How many tiles there are is known
// to the device alone: for every strip of columns there is a workgroup for SHARE pairs, which goes from tile to
// tile as far apart as there are workgroups. Those that follow each other in number have tiles of the same expert
// and columns, and meet the same weights in a cache. Rows past an expert's last are read from that one and never
// written. Pairs whose id is no expert are tiles of their own, with a product of 0.
// Sums are f32, k ascending, so a row's bits do not depend on the other rows.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const TM: u32 = 16u; // knob: rows of a tile
const SHARE: u32 = 8u; // knob: pairs for each workgroup of a strip
const LANES: u32 = 32u; // invocations, all along C
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

// The tile of an expert's pairs order[first] up to order[end], of which it takes the first TM.
fn tile(e: u32, first: u32, end: u32, c4: u32) {
    var pair: array<u32, TM>;
    var x_row: array<u32, TM>;
    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        pair[i] = order[min(first + i, end - 1u)];
        x_row[i] = p.x_offset + pair[i] / p.U * p.x_M + pair[i] % p.U * p.x_U;
    }
    let k4s = select(0u, (p.K + 3u) / 4u, e < p.E);
    let whole = select(0u, p.K / 4u, e < p.E);
    var v: array<vec4<f32>, TM>;
    for (var half = 0u; half < HALVES; half++) {
        let n0 = (half * p.E + e) * p.C;
        var n: array<u32, 4>;
        var column: array<u32, 4>;
        var step: array<u32, 4>;
        //@unroll c 0..4
        for (var c = 0u; c < 4u; c++) {
            n[c] = n0 + min(c4 * 4u + c, p.C - 1u);
            column[c] = w_column(0u, n[c]);
            step[c] = w_step(n[c]);
        }
        // Whole groups of four along K, then, masked, what is left: written once, unrolled twice.
        var acc = array<vec4<f32>, TM>();
        //@unroll rest 0..2
        for (var rest = 0u; rest < 2u; rest++) {
            let last = select(whole, k4s, rest == 1u);
            for (var k4 = select(0u, whole, rest == 1u); k4 < last; k4++) {
                let live = vec4<bool>(rest == 0u) | (vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(p.K));
                var ws: array<vec4<f32>, 4>;
                //@unroll c 0..4
                for (var c = 0u; c < 4u; c++) {
                    let loaded = load_w(column[c] + k4 * step[c], block_of(k4 / BLOCK4, n[c], 0u));
                    ws[c] = select(vec4<f32>(0.0), loaded, live);
                }
                //@unroll i 0..TM
                for (var i = 0u; i < TM; i++) {
                    let xs = select(vec4<f32>(0.0), load4_x(x_row[i] + k4), live);
                    //@unroll k 0..4
                    for (var k = 0u; k < 4u; k++) {
                        let w_k = vec4<f32>(ws[0][k], ws[1][k], ws[2][k], ws[3][k]);
                        acc[i] = fma(vec4<f32>(xs[k]), w_k, acc[i]);
                    }
                }
            }
        }
        //@unroll i 0..TM
        for (var i = 0u; i < TM; i++) {
            v[i] = select(gated(v[i], acc[i]), acc[i], half == 0u);
        }
    }

    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        if first + i < end {
            let at = p.y_offset + pair[i] / p.U * p.y_M + pair[i] % p.U * p.y_U + c4;
            store4_y(at, apply4_post(v[i], pair[i], c4));
        }
    }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let pairs = p.M * p.U;
    let walkers = max((pairs + SHARE - 1u) / SHARE, 1u);
    let at = wg.y * wgs.x + wg.x;
    let c4 = at / walkers * LANES + lane;
    if c4 * 4u >= p.C {
        return;
    }
    var left = at % walkers; // tiles to pass by
    for (var e = 0u; e <= p.E; e++) {
        let begin = starts[e];
        let end = select(pairs, starts[min(e + 1u, p.E)], e < p.E);
        let tiles = (end - begin + TM - 1u) / TM;
        for (; left < tiles; left += walkers) {
            tile(e, begin + left * TM, end, c4);
        }
        left -= tiles;
    }
}

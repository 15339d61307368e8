// matmul_experts.vector    y[m, u, c] = post(Σ_k x[m, u, k] · w[e, c, k]), e = ids[m, u], for few tokens
//
//   x        [M, K] or [M, U, K]  f32 f16              in   groups of four along K
//   w        [E, C, K]            f32 f16 bf16 blocks  in   as [N, K], N = E · C, groups of four along K
//   ids      [M, U]               u32                  in
//   y        [M, U, C]            f32 f16              out  groups of four along C
//
// Or, with `up` of the shape of w behind it in the same buffer, act(Σ_k x · w) · Σ_k x · up, N = 2 · E · C.
// Weights of experts that no token goes to are not read. A workgroup owns LANES·COLS columns of one pair; its
// PARTS rows of invocations share out K, RUN groups of four at a time, and their sums meet in workgroup memory
// in a fixed order. How neighbours read neighbouring columns, and why lines are touched that come next, is as in
// matmul.vector. Columns past the end are read from the last one. An id that is no expert gives a product of 0.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const COLS: u32 = 4u; // knob: columns of an invocation
const LANES: u32 = 8u; // knob: invocations along C
const PARTS: u32 = 16u; // knob: invocations along K
const RUN: u32 = 8u; // knob: groups of four along K that one invocation takes in a row
const FLAT: bool = false; // knob: the columns of a workgroup lie side by side
const LINES: u32 = 0u; // knob: cache lines of the next group along K to touch; only where FLAT and PARTS is 1
const LINE: u32 = 4u; // knob: groups of four in a cache line
const SCALE_LINES: u32 = 0u; // knob: lines of the scales that a workgroup reads at once, if it has a panel
const TURN: u32 = 1u; // knob: groups of four along K that are written out; RUN and K have a whole number of them
const BLOCK4: u32 = 8u; // knob: groups of four in a block of w that shares a scale, a multiple of RUN
const SCALES4: u32 = 8u; // knob: groups of four in what blocks' scales lie together of, a multiple of BLOCK4
const AHEAD4: u32 = 8u; // knob: groups of four of which an invocation reads scales at once, RUN or SCALES4
const SIDE: u32 = 1u; // knob: neighbouring columns of an invocation, which are loaded together, 1 or 8
const SETS: u32 = 4u; // knob: COLS / SIDE

struct Params {
    M: u32, U: u32, E: u32, C: u32, N: u32, K: u32,
    x_offset: u32, x_M: u32, x_U: u32,
    w_offset: u32, w_B: u32, w_N: u32, w_K: u32,
    ids_offset: u32,
    y_offset: u32, y_M: u32, y_U: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> sums: array<f32, HALVES * PARTS * COLS * LANES>;

// Where an invocation goes on along K: at `k4`, or where the others' runs end if that is where its own does.
fn after(k4: u32) -> u32 {
    return k4 + select(0u, (PARTS - 1u) * RUN, k4 % RUN == 0u);
}

// Four neighbouring columns of a half, all parts together.
fn total4(half: u32, at: u32) -> vec4<f32> {
    let fours = LANES * COLS / 4u;
    var total = vec4<f32>(0.0);
    for (var q = 0u; q < PARTS; q++) {
        let s = ((half * PARTS + q) * fours + at) * 4u;
        total += vec4<f32>(sums[s], sums[s + 1u], sums[s + 2u], sums[s + 3u]);
    }
    return total;
}

@compute @workgroup_size(LANES, PARTS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
) {
    let tiles = (p.C + LANES * COLS - 1u) / (LANES * COLS);
    let tile = wg.y * wgs.x + wg.x;
    let pair = tile / tiles;
    if pair >= p.M * p.U {
        return;
    }
    let c0 = tile % tiles * LANES * COLS;
    let e = min(ids[p.ids_offset + pair], p.E);
    let row = p.x_offset + pair / p.U * p.x_M + pair % p.U * p.x_U;
    let part = select(lane.y, 0u, PARTS == 1u); // so that a driver sees that x is the same for all
    let k4s = select(0u, (p.K + 3u) / 4u, e < p.E);

    var touched = 0u;
    for (var half = 0u; half < HALVES; half++) {
        let n0 = (half * p.E + e) * p.C;
        // Of the columns that are loaded together, the first.
        var n: array<u32, SETS>;
        var column: array<u32, SETS>;
        var step: array<u32, SETS>;
        //@unroll j 0..SETS
        for (var j = 0u; j < SETS; j++) {
            n[j] = n0 + min(c0 + (j * LANES + lane.x) * SIDE, p.C - SIDE);
            column[j] = w_column(0u, n[j]);
            step[j] = w_step(n[j]);
        }
        let lines = w_column(0u, n0 + c0);
        var sum = array<f32, COLS>();
        var scales = array<Scales, COLS>();
        var blocks = array<Placed, COLS>();
        for (var first = part * RUN; first < k4s; first = after(first + TURN)) {
            if first % RUN == 0u {
                if AHEAD4 == RUN || first % AHEAD4 == 0u {
                    //@unroll line 0..SCALE_LINES
                    for (var line = 0u; line < SCALE_LINES; line++) {
                        let next = min(first + AHEAD4, k4s - 1u) / SCALES4;
                        touched = max(touched, touch_scales(next, n0 + c0, line * 16u));
                    }
                    //@unroll c 0..COLS
                    for (var c = 0u; c < COLS; c++) {
                        scales[c] = scales_of(first / SCALES4, n[c / SIDE], c % SIDE);
                    }
                }
                //@unroll c 0..COLS
                for (var c = 0u; c < COLS; c++) {
                    blocks[c] = placed(part_of(scales[c], first % SCALES4 / BLOCK4), c % SIDE);
                }
            }
            //@unroll turn 0..TURN
            for (var turn = 0u; turn < TURN; turn++) {
                let k4 = first + turn;
                // Of several groups a turn all are whole.
                let live = vec4<bool>(TURN > 1u) | (vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.K - k4 * 4u));
                let xs = select(vec4<f32>(0.0), load4_x(row + k4), live);
                let next = lines + min(k4 + 1u, k4s - 1u) * step[0];
                //@unroll line 0..LINES
                for (var line = 0u; line < LINES; line++) {
                    touched = max(touched, touch_w(next + line * LINE));
                }
                //@unroll j 0..SETS
                for (var j = 0u; j < SETS; j++) {
                    let own = column[j] + k4 * step[j];
                    let fetched = fetch_w(select(own, column[0] + j * SIDE * LANES + k4 * step[0], FLAT));
                    //@unroll r 0..SIDE
                    for (var r = 0u; r < SIDE; r++) {
                        let c = j * SIDE + r;
                        let v = taken_w(fetched, r, blocks[c]);
                        let ws = select(vec4<f32>(0.0), v, vec4<bool>(PADDED) | live);
                        sum[c] = fma(xs.z, ws.z, fma(xs.w, ws.w, sum[c]));
                        sum[c] = fma(xs.x, ws.x, fma(xs.y, ws.y, sum[c]));
                    }
                }
            }
        }
        //@unroll c 0..COLS
        for (var c = 0u; c < COLS; c++) {
            let own = (c / SIDE * LANES + lane.x) * SIDE + c % SIDE;
            sums[(half * PARTS + part) * COLS * LANES + own] = sum[c];
        }
    }
    workgroupBarrier(); // every part's sums are there

    for (var at = part * LANES + lane.x; at < LANES * COLS / 4u; at += PARTS * LANES) {
        let c4 = c0 / 4u + at;
        if c4 * 4u < p.C {
            var v = gated(total4(0u, at), total4(HALVES - 1u, at));
            if p.K == 0u && touched > 0u {
                v += 1.0; // never: so that no compiler leaves out what was touched
            }
            store4_y(p.y_offset + pair / p.U * p.y_M + pair % p.U * p.y_U + c4, apply4_post(v, pair, c4));
        }
    }
}

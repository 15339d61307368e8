// matmul.vector    y[b, m, n] = post(scale · Σ_k x[b, m, k] · w[b, n, k]), for few rows
//
//   x        [B, M, K]  f32 f16             in   groups of four along K
//   w        [B, N, K]  f32 f16 bf16 i8 u8 blocks  in   groups of four along K
//   w_scale  [N, K]     f32                 in   of i8 and u8: an element for a tensor, column or group
//   w_zero   [N, K]     i8 u8               in   likewise, may be left out
//   gain     [K]        f32 f16             in   may be left out
//   y        [B, M, N]  f32 f16             out  groups of four along N
//
// With `gain`, x is what it makes of it: x / sqrt(mean_k x² + eps) · gain. The sum of squares is another one over
// K, and waits as a factor until the others are done. With gates, y has half as many columns: those of the first
// half of w, after a function, gate those of the second, which are read after them.
// The weights are read once for ROWS rows, and reading them is all the work there is. A workgroup owns ROWS
// rows and LANES·COLS columns; its PARTS rows of invocations share out K, RUN groups of four at a time, and
// their sums meet in workgroup memory in a fixed order. Neighbouring invocations read neighbouring columns,
// and the columns of an invocation go on where those of its neighbours end, so that a workgroup reads long
// runs. A processor's prefetcher may not see that where lanes are gathered: there the lines that come next are
// touched by loads that are the same for all. Rows past the end are read from the last one, columns too, or from
// what lies behind the last panel's. Each sum depends on its own row only.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const ROWS: u32 = 4u; // knob: rows that share a weight
const COLS: u32 = 4u; // knob: columns of an invocation
const LANES: u32 = 8u; // knob: invocations along N
const PARTS: u32 = 16u; // knob: invocations along K
const RUN: u32 = 8u; // knob: groups of four along K that one invocation takes in a row
const FLAT: bool = false; // knob: the columns of a workgroup lie side by side
const LINES: u32 = 0u; // knob: cache lines of the next group along K to touch; only where FLAT and PARTS is 1
const LINE: u32 = 4u; // knob: groups of four in a cache line
const SCALE_LINES: u32 = 0u; // knob: lines of the scales that a workgroup reads at once, if it has a panel
const BLOCK4: u32 = 8u; // knob: groups of four in a block of w that shares a scale, a multiple of RUN
const SCALES4: u32 = 8u; // knob: groups of four in what blocks' scales lie together of, a multiple of BLOCK4
const AHEAD4: u32 = 8u; // knob: groups of four of which an invocation reads scales at once, RUN or SCALES4
const TURN: u32 = 1u; // knob: groups of four along K that are written out; RUN and K have a whole number of them
const SIDE: u32 = 1u; // knob: neighbouring columns of an invocation, which are loaded together, 1 or 8
const SETS: u32 = 4u; // knob: COLS / SIDE
const PLANES: bool = true; // knob: whether the op has scales and zero points beside a weight

struct Params {
    B: u32, M: u32, N: u32, K: u32,
    x_offset: u32, x_B: u32, x_M: u32,
    w_offset: u32, w_B: u32, w_N: u32, w_K: u32,
    //@if PLANES
    w_scale_offset: u32, w_scale_N: u32, w_scale_K: u32,
    //@if PLANES
    w_zero_offset: u32, w_zero_N: u32, w_zero_K: u32,
    //@if PLANES
    gain_offset: u32,
    y_offset: u32, y_B: u32, y_M: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
@group(0) @binding(2) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> sums: array<f32, HALVES * PARTS * ROWS * COLS * LANES>;

// Where an invocation goes on along K: at `k4`, or where the others' runs end if that is where its own does.
fn after(k4: u32) -> u32 {
    return k4 + select(0u, (PARTS - 1u) * RUN, k4 % RUN == 0u);
}

// Four neighbouring columns of a half, all parts together, and their scales.
fn total4(half: u32, at: u32, c4: u32) -> vec4<f32> {
    let fours = LANES * COLS / 4u;
    var total = vec4<f32>(0.0);
    for (var q = 0u; q < PARTS; q++) {
        let s = ((half * PARTS + q) * ROWS * fours + at) * 4u;
        total += vec4<f32>(sums[s], sums[s + 1u], sums[s + 2u], sums[s + 3u]);
    }
    return total * column_scale4(c4);
}

@compute @workgroup_size(LANES, PARTS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
) {
    let tiles_m = (p.M + ROWS - 1u) / ROWS;
    let columns = p.N / HALVES;
    let tiles_n = (columns + LANES * COLS - 1u) / (LANES * COLS);
    let tile = wg.y * wgs.x + wg.x;
    let b = tile / (tiles_m * tiles_n);
    if b >= batches() {
        return;
    }
    let m0 = tile / tiles_n % tiles_m * ROWS;
    let n0 = tile % tiles_n * LANES * COLS;
    let part = select(lane.y, 0u, PARTS == 1u); // so that a driver sees that x is the same for all

    var row: array<u32, ROWS>;
    //@unroll i 0..ROWS
    for (var i = 0u; i < ROWS; i++) {
        row[i] = p.x_offset + x_slice(b, n0) * p.x_B + min(m0 + i, p.M - 1u) * p.x_M;
    }
    var touched = 0u;
    for (var half = 0u; half < HALVES; half++) {
        let h0 = half * columns + n0;
        // Of the columns that are loaded together, the first.
        var n = array<u32, SETS>();
        var column = array<u32, SETS>();
        //@unroll j 0..SETS
        for (var j = 0u; j < SETS; j++) {
            let own = h0 + (j * LANES + lane.x) * SIDE;
            n[j] = min(own, p.N - SIDE);
            column[j] = w_column(b, select(n[j], own, FLAT));
        }

        let lines = w_column(b, h0);
        let along = w_step(h0); // a workgroup's columns lie in one panel
        var sum = array<f32, ROWS * COLS>();
        var squares = array<f32, ROWS>();
        var scales = array<Scales, COLS>();
        let k4s = (p.K + 3u) / 4u;
        var blocks = array<Placed, COLS>();
        // One loop, and none for each run: on a processor, loops cost as much as what is done for several columns.
        for (var first = part * RUN; first < k4s; first = after(first + TURN)) {
            if first % RUN == 0u {
                if AHEAD4 == RUN || first % AHEAD4 == 0u {
                    //@unroll line 0..SCALE_LINES
                    for (var line = 0u; line < SCALE_LINES; line++) {
                        let next = min(first + AHEAD4, k4s - 1u) / SCALES4;
                        let words = select(line * 16u, 0u, along < LANES * COLS); // the last panel may be narrow
                        touched = max(touched, touch_scales(next, h0, words));
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
                var xs: array<vec4<f32>, ROWS>;
                //@unroll i 0..ROWS
                for (var i = 0u; i < ROWS; i++) {
                    let own = select(vec4<f32>(0.0), load4_x(row[i] + k4), live);
                    squares[i] += dot(own, own);
                    xs[i] = select(vec4<f32>(0.0), gained4(own, k4), live);
                }
                let along_k = k4 * along;
                let next = lines + min(k4 + 1u, k4s - 1u) * along;
                //@unroll line 0..LINES
                for (var line = 0u; line < LINES; line++) {
                    touched = max(touched, touch_w(next + line * LINE));
                }
                //@unroll j 0..SETS
                for (var j = 0u; j < SETS; j++) {
                    let flat = select(column[j], column[0] + j * SIDE * LANES, FLAT);
                    let fetched = fetch_w(flat + along_k);
                    //@unroll r 0..SIDE
                    for (var r = 0u; r < SIDE; r++) {
                        let c = j * SIDE + r;
                        let v = taken_w(fetched, r, blocks[c]);
                        let ws = select(vec4<f32>(0.0), v, vec4<bool>(PADDED) | live);
                        //@unroll i 0..ROWS
                        for (var i = 0u; i < ROWS; i++) {
                            let at = i * COLS + c;
                            sum[at] = fma(xs[i].z, ws.z, fma(xs[i].w, ws.w, sum[at]));
                            sum[at] = fma(xs[i].x, ws.x, fma(xs[i].y, ws.y, sum[at]));
                        }
                    }
                }
            }
        }
        //@unroll i 0..ROWS
        for (var i = 0u; i < ROWS; i++) {
            keep_squares(lane.x, part * ROWS + i, squares[i]);
            //@unroll c 0..COLS
            for (var c = 0u; c < COLS; c++) {
                let own = (c / SIDE * LANES + lane.x) * SIDE + c % SIDE;
                sums[((half * PARTS + part) * ROWS + i) * COLS * LANES + own] = sum[i * COLS + c];
            }
        }
    }
    workgroupBarrier(); // every part's sums are there

    let fours = LANES * COLS / 4u;
    for (var at = part * LANES + lane.x; at < ROWS * fours; at += PARTS * LANES) {
        let m = m0 + at / fours;
        let c4 = n0 / 4u + at % fours;
        if m < p.M && c4 * 4u < columns {
            let up4 = (HALVES - 1u) * columns / 4u + c4;
            let norm = norm_of(at / fours);
            var v = gated(total4(0u, at, c4) * norm, total4(HALVES - 1u, at, up4) * norm);
            if p.K == 0u && touched > 0u {
                v += 1.0; // never: so that no compiler leaves out what was touched
            }
            let own = apply4_post(acted(v, n0), b * p.M + m, c4);
            store4_y(p.y_offset + b * p.y_B + m * p.y_M + c4, own);
        }
    }
}

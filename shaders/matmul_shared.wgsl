// matmul.shared    y[b, m, n] = post(scale · Σ_k x[b, m, k] · w[b, n, k])
//
//   x        [B, M, K]  f32 f16            in   groups of four along K
//   w        [B, N, K]  f32 f16 bf16 i8 u8 blocks  in   groups of four along K
//   w_scale  [N, K]     f32                in   of i8 and u8: an element for a tensor, column or group
//   w_zero   [N, K]     i8 u8              in   likewise, may be left out
//   y        [B, M, N]  f32 f16            out  groups of four along N
//
// A workgroup of SIDE x SIDE invocations owns 4 * FOURS rows and as many columns. It stages STEP4 groups along
// K of both in workgroup memory, four rows (or columns) of one k side by side, so that an invocation reads
// what it needs for four rows or four columns of one k in one load. It owns 2 x 2 squares of 4 x 4, apart by
// 4 * SIDE, so that neighbours read neighbouring words. Loads are squares too, of four rows and four k: those
// of x first, then those of w, dealt out to the invocations. While a stage is multiplied the next one is on
// its way into registers. Rows and columns past the end are read from the last one and never written; past
// the end of K are zeros.
// Sums are f32, k ascending, so a row's bits do not depend on the other rows.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const SIDE: u32 = 8u; // knob: invocations along M, and along N
const LANES: u32 = 64u; // knob: SIDE * SIDE
const FOURS: u32 = 16u; // knob: 2 * SIDE, fours of rows of a tile, and of columns
const PITCH: u32 = 17u; // knob: FOURS, and what keeps neighbours' stores in other banks where there is room
const STEP4: u32 = 4u; // groups of four along K in a stage
const STEP: u32 = 16u; // STEP4 * 4
const LOADS: u32 = 2u; // knob: 2 * FOURS * STEP4 / LANES, squares that an invocation loads for a stage
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

// [k][four rows], then [k][four columns].
var<workgroup> stage: array<vec4<f32>, 2 * STEP * PITCH>;

// Of a square: its group of four along K and its four rows or columns, within a stage, and whether it is of w.
// Neighbours have neighbouring groups of a row of x, and neighbouring columns of w.
fn place(square: u32) -> vec3<u32> {
    if square < FOURS * STEP4 {
        return vec3<u32>(square % STEP4, square / STEP4, 0u);
    }
    let of_w = square - FOURS * STEP4;
    return vec3<u32>(of_w / FOURS, of_w % FOURS, 1u);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles_m = (p.M + FOURS * 4u - 1u) / (FOURS * 4u);
    let tiles_n = (p.N + FOURS * 4u - 1u) / (FOURS * 4u);
    let tile = wg.y * wgs.x + wg.x;
    let b = tile / (tiles_m * tiles_n);
    let m4 = tile % tiles_m * FOURS;
    let n4 = tile / tiles_m % tiles_n * FOURS;
    if b >= p.B {
        return;
    }
    let m_in = lane / SIDE;
    let n_in = lane % SIDE;
    let x_base = p.x_offset + b * p.x_B;
    let along = w_step(n4 * 4u); // a tile lies in one panel

    var acc: array<vec4<f32>, 16>;
    var next: array<mat4x4<f32>, LOADS>;
    let steps = (p.K + STEP - 1u) / STEP;
    for (var step = 0u; step <= steps; step++) {
        if step > 0u {
            workgroupBarrier(); // everybody has read the stage before
            //@unroll i 0..LOADS
            for (var i = 0u; i < LOADS; i++) {
                let square = place(lane + i * LANES);
                let turned = transpose(next[i]);
                //@unroll k 0..4
                for (var k = 0u; k < 4u; k++) {
                    stage[(square.z * STEP + square.x * 4u + k) * PITCH + square.y] = turned[k];
                }
            }
            workgroupBarrier(); // the stage is whole
        }
        if step < steps {
            //@unroll i 0..LOADS
            for (var i = 0u; i < LOADS; i++) {
                let square = place(lane + i * LANES);
                let k4 = step * STEP4 + square.x;
                let live = vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(p.K);
                let at = min(k4, (p.K - 1u) / 4u);
                //@unroll c 0..4
                for (var c = 0u; c < 4u; c++) {
                    var v: vec4<f32>;
                    if square.z == 0u {
                        let m = min((m4 + square.y) * 4u + c, p.M - 1u);
                        v = load4_x(x_base + m * p.x_M + at);
                    } else {
                        let n = min((n4 + square.y) * 4u + c, p.N - 1u);
                        v = load_w(w_column(b, n) + at * along, block_of(at / BLOCK4, n, 0u));
                    }
                    next[i][c] = select(vec4<f32>(0.0), v, live);
                }
            }
        }
        if step > 0u {
            for (var k = 0u; k < STEP; k++) {
                let x_at = k * PITCH + m_in;
                let w_at = (STEP + k) * PITCH + n_in;
                let w0 = stage[w_at];
                let w1 = stage[w_at + SIDE];
                //@unroll i 0..2
                for (var i = 0u; i < 2u; i++) {
                    let xk = stage[x_at + i * SIDE];
                    //@unroll r 0..4
                    for (var r = 0u; r < 4u; r++) {
                        acc[(i * 4u + r) * 2u] = fma(vec4<f32>(xk[r]), w0, acc[(i * 4u + r) * 2u]);
                        acc[(i * 4u + r) * 2u + 1u] = fma(vec4<f32>(xk[r]), w1, acc[(i * 4u + r) * 2u + 1u]);
                    }
                }
            }
        }
    }

    //@unroll i 0..2
    for (var i = 0u; i < 2u; i++) {
        //@unroll r 0..4
        for (var r = 0u; r < 4u; r++) {
            let m = (m4 + m_in + i * SIDE) * 4u + r;
            //@unroll j 0..2
            for (var j = 0u; j < 2u; j++) {
                let c4 = n4 + n_in + j * SIDE;
                if m < p.M && c4 * 4u < p.N {
                    let v = apply4_post(acc[(i * 4u + r) * 2u + j] * column_scale4(c4), b * p.M + m, c4);
                    store4_y(p.y_offset + b * p.y_B + m * p.y_M + c4, v);
                }
            }
        }
    }
}

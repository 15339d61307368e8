// matmul.tile    y[b, m, n] = post(scale · Σ_k x[b, m, k] · w[b, n, k])
//
//   x  [B, M, K]  f32 f16           in   groups of four along K
//   w  [B, N, K]  f32 f16 i8 q8_0   in   groups of four along K; w_N and w_K say where they lie
//   y  [B, M, N]  f32 f16           out  groups of four along N
//
// An invocation owns TM rows and TN4 groups of four columns, all in registers; a workgroup of
// 8 x 8 invocations owns a tile of 8·TM x 32·TN4. No workgroup memory: invocations of a row of the
// workgroup read the same x, those of a column the same w, which caches serve; with w laid out
// group-major, neighbours read neighbouring groups. Rows and columns past the end are read from
// the last one and never written. Sums are f32, k ascending, so a row's bits do not depend on the
// other rows.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const TM: u32 = 8u; // knob: rows per invocation
const TN4: u32 = 2u; // knob: groups of four columns per invocation
const LANES: u32 = 8u; // invocations along each side of the workgroup
const BLOCK4: u32 = 8u; // groups of four in a block of w that shares a scale

struct Params {
    B: u32, M: u32, N: u32, K: u32,
    x_offset: u32, x_B: u32, x_M: u32,
    w_offset: u32, w_B: u32, w_N: u32, w_K: u32,
    y_offset: u32, y_B: u32, y_M: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
@group(0) @binding(2) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<private> acc: array<vec4<f32>, TM * TN4>;
var<private> x_row: array<u32, TM>;
var<private> w_row: array<u32, TN4 * 4u>;
var<private> scale: array<f32, TN4 * 4u>;

// acc += x[rows, 4·k4 …] · w[columns, 4·k4 …]; in the last group only `live` elements count.
fn accumulate(k4: u32, live: vec4<bool>) {
    var xs: array<vec4<f32>, TM>;
    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        xs[i] = select(vec4<f32>(0.0), load4_x(x_row[i] + k4), live);
    }
    //@unroll j 0..TN4
    for (var j = 0u; j < TN4; j++) {
        let w0 = select(vec4<f32>(0.0), load_w(w_row[j * 4u] + k4 * p.w_K, scale[j * 4u]), live);
        let w1 = select(vec4<f32>(0.0), load_w(w_row[j * 4u + 1u] + k4 * p.w_K, scale[j * 4u + 1u]), live);
        let w2 = select(vec4<f32>(0.0), load_w(w_row[j * 4u + 2u] + k4 * p.w_K, scale[j * 4u + 2u]), live);
        let w3 = select(vec4<f32>(0.0), load_w(w_row[j * 4u + 3u] + k4 * p.w_K, scale[j * 4u + 3u]), live);
        //@unroll i 0..TM
        for (var i = 0u; i < TM; i++) {
            var a = acc[i * TN4 + j];
            a = fma(vec4<f32>(xs[i].x), vec4<f32>(w0.x, w1.x, w2.x, w3.x), a);
            a = fma(vec4<f32>(xs[i].y), vec4<f32>(w0.y, w1.y, w2.y, w3.y), a);
            a = fma(vec4<f32>(xs[i].z), vec4<f32>(w0.z, w1.z, w2.z, w3.z), a);
            a = fma(vec4<f32>(xs[i].w), vec4<f32>(w0.w, w1.w, w2.w, w3.w), a);
            acc[i * TN4 + j] = a;
        }
    }
}

@compute @workgroup_size(LANES, LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
) {
    let tiles_m = (p.M + LANES * TM - 1u) / (LANES * TM);
    let tiles_n = (p.N + LANES * TN4 * 4u - 1u) / (LANES * TN4 * 4u);
    let tile = wg.y * wgs.x + wg.x;
    let b = tile / (tiles_m * tiles_n);
    let m0 = (tile / tiles_n % tiles_m * LANES + lane.y) * TM;
    let n4 = tile % tiles_n * LANES * TN4 + lane.x;
    if b >= p.B || m0 >= p.M || n4 * 4u >= p.N {
        return;
    }

    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        x_row[i] = p.x_offset + b * p.x_B + min(m0 + i, p.M - 1u) * p.x_M;
    }
    //@unroll j 0..TN4
    for (var j = 0u; j < TN4; j++) {
        //@unroll c 0..4
        for (var c = 0u; c < 4u; c++) {
            w_row[j * 4u + c] = p.w_offset + b * p.w_B + min((n4 + j * LANES) * 4u + c, p.N - 1u) * p.w_N;
        }
    }

    let whole = p.K / 4u;
    for (var block = 0u; block * BLOCK4 * 4u < p.K; block++) {
        //@unroll j 0..TN4
        for (var j = 0u; j < TN4; j++) {
            //@unroll c 0..4
            for (var c = 0u; c < 4u; c++) {
                scale[j * 4u + c] = block_scale(block, min((n4 + j * LANES) * 4u + c, p.N - 1u));
            }
        }
        let end = min((block + 1u) * BLOCK4, whole);
        for (var k4 = block * BLOCK4; k4 < end; k4++) {
            accumulate(k4, vec4<bool>(true));
        }
    }
    if whole * 4u < p.K {
        accumulate(whole, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.K - whole * 4u));
    }

    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        if m0 + i < p.M {
            //@unroll j 0..TN4
            for (var j = 0u; j < TN4; j++) {
                let c4 = n4 + j * LANES;
                if c4 * 4u < p.N {
                    let v = post4(acc[i * TN4 + j] * column_scale4(c4), b * p.M + m0 + i, c4);
                    store4_y(p.y_offset + b * p.y_B + (m0 + i) * p.y_M + c4, v);
                }
            }
        }
    }
}

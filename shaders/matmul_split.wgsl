// matmul.split, first part    part[s, b, m, n] = Σ x[b, m, k] · w[b, n, k] over the s-th share of K
//
//   x        [B, M, K]          f32 f16             in   groups of four along K
//   w        [B, N, K]          f32 f16 bf16 i8 u8 blocks  in   groups of four along K
//   w_scale  [N, K]             f32                 in   of i8 and u8: an element for a tensor, column or group
//   w_zero   [N, K]             i8 u8               in   likewise, may be left out
//   part     [SPLITS, B, M, N]  f32                 out  groups of four along N
//
// Where there are few tiles and K is long, a device is filled by cutting K as well. An invocation owns TM
// rows and a group of four columns of one share, all in registers; a workgroup is LANES invocations side by
// side along N. Rows and columns past the end are read from the last one; of them only the rows are not
// written, since a group of columns has room. A share is whole blocks of w, so that each has one scale.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
const TM: u32 = 8u; // knob: rows per invocation
const SPLITS: u32 = 2u; // knob: shares of K
const LANES: u32 = 32u; // invocations, all along N
const BLOCK4: u32 = 8u; // knob: groups of four in a block of w that shares a scale

struct Params {
    B: u32, M: u32, N: u32, K: u32,
    x_offset: u32, x_B: u32, x_M: u32,
    w_offset: u32, w_B: u32, w_N: u32, w_K: u32,
    w_scale_offset: u32, w_scale_N: u32, w_scale_K: u32,
    w_zero_offset: u32, w_zero_N: u32, w_zero_K: u32,
    part_row: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
@group(0) @binding(2) var<storage, read_write> part: array<vec4<f32>>;
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
    let m0 = tile % tiles_m * TM;
    let first4 = tile / tiles_m % tiles_n * LANES;
    let c4 = first4 + lane;
    let b = tile / (tiles_m * tiles_n) % p.B;
    let share = tile / (tiles_m * tiles_n * p.B);
    if share >= SPLITS || c4 * 4u >= p.N {
        return;
    }

    var x_row: array<u32, TM>;
    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        x_row[i] = p.x_offset + b * p.x_B + min(m0 + i, p.M - 1u) * p.x_M;
    }
    var n: array<u32, 4>;
    var column: array<u32, 4>;
    //@unroll c 0..4
    for (var c = 0u; c < 4u; c++) {
        n[c] = min(c4 * 4u + c, p.N - 1u);
        column[c] = w_column(b, n[c]);
    }

    let along = w_step(first4 * 4u); // a tile lies in one panel
    let k4s = (p.K + 3u) / 4u;
    let blocks = (k4s + SPLITS * BLOCK4 - 1u) / (SPLITS * BLOCK4);
    let end = min((share + 1u) * blocks * BLOCK4, k4s);
    var acc: array<vec4<f32>, TM>;
    for (var k4 = share * blocks * BLOCK4; k4 < end; k4++) {
        let live = vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(p.K);
        var ws: array<vec4<f32>, 4>;
        //@unroll c 0..4
        for (var c = 0u; c < 4u; c++) {
            let v = load_w(column[c] + k4 * along, block_of(k4 / BLOCK4, n[c], 0u));
            ws[c] = select(vec4<f32>(0.0), v, live);
        }
        //@unroll i 0..TM
        for (var i = 0u; i < TM; i++) {
            let xs = select(vec4<f32>(0.0), load4_x(x_row[i] + k4), live);
            //@unroll k 0..4
            for (var k = 0u; k < 4u; k++) {
                acc[i] = fma(vec4<f32>(xs[k]), vec4<f32>(ws[0][k], ws[1][k], ws[2][k], ws[3][k]), acc[i]);
            }
        }
    }

    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        if m0 + i < p.M {
            part[((share * p.B + b) * p.M + m0 + i) * p.part_row + c4] = acc[i];
        }
    }
}

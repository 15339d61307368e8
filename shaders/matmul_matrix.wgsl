// matmul.matrix, last part    y[b, m, n] = post(scale · 2^(xe + we) · Σ_k xh[b, m, k] · wh[b, n, k])
//
//   xh       [B, MP, KP]  f16      in   rows padded with zeros to whole tiles
//   xe       [B, MP]      u32      in   exponents of rows, which stand for 2^(xe - ONE)
//   wh       [B, NP, KP]  f16      in   likewise
//   we       [B, NP]      u32      in
//   w_scale  [N, K]       f32      in   of i8 and u8: an element for a tensor or column
//   y        [B, M, N]    f32 f16  out  groups of four along N
//
// Cooperative matrices of SIDE x SIDE. A workgroup is four subgroups in a square and owns TILE x TILE of y;
// each subgroup has 2 x 2 matrices of sums in f32. Both operands come straight from their buffers, which are
// padded, so no access is near an edge. (wgpu #8805: what a shader itself wrote to workgroup memory may not be
// seen by coopLoad; what it stores there is read after a barrier.) No operation on matrices may stand under a
// condition that differs between invocations, or in a function.

alias mat_a = coop_mat16x16<f16, A>; // knob: of xh
alias mat_b = coop_mat16x16<f16, B>; // knob: of wh
alias mat_c = coop_mat16x16<f32, C>; // knob: of sums
alias y_group = vec4<f32>; // knob: four elements of y
const SIDE: u32 = 16u; // knob: rows and columns of a matrix
const TILE: u32 = 64u; // knob: four times as many
const LANES: u32 = 128u; // knob: invocations in four subgroups
const MP: u32 = 64u; // knob: rows of xh that belong to a b
const NP: u32 = 64u; // knob: rows of wh that belong to a b
const ONE: i32 = 141; // see lib/staged.wgsl

struct Params {
    B: u32, M: u32, N: u32, K: u32,
    w_scale_offset: u32, w_scale_N: u32, w_scale_K: u32,
    xh_row: u32, wh_row: u32,
    y_offset: u32, y_B: u32, y_M: u32,
}

@group(0) @binding(0) var<storage, read> xh: array<f16>;
@group(0) @binding(1) var<storage, read> xe: array<u32>;
@group(0) @binding(2) var<storage, read> wh: array<f16>;
@group(0) @binding(3) var<storage, read> we: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> sums: array<f32, TILE * TILE>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let tiles_m = (p.M + TILE - 1u) / TILE;
    let tiles_n = (p.N + TILE - 1u) / TILE;
    let tile = wg.y * wgs.x + wg.x;
    let b = tile / (tiles_m * tiles_n);
    if b >= p.B {
        return;
    }
    let m0 = tile % tiles_m * TILE;
    let n0 = tile / tiles_m % tiles_n * TILE;
    let m_in = subgroup / 2u * 2u * SIDE;
    let n_in = subgroup % 2u * 2u * SIDE;

    let x_pitch = p.xh_row * 4u;
    let w_pitch = p.wh_row * 4u;
    let x0 = (b * MP + m0 + m_in) * x_pitch;
    let x1 = x0 + SIDE * x_pitch;
    let w0 = (b * NP + n0 + n_in) * w_pitch;
    let w1 = w0 + SIDE * w_pitch;
    var c00 = mat_c();
    var c01 = mat_c();
    var c10 = mat_c();
    var c11 = mat_c();
    for (var k = 0u; k < p.K; k += SIDE) {
        let a0 = coopLoadT<mat_a>(&xh[x0 + k], x_pitch);
        let a1 = coopLoadT<mat_a>(&xh[x1 + k], x_pitch);
        let b0 = coopLoad<mat_b>(&wh[w0 + k], w_pitch);
        let b1 = coopLoad<mat_b>(&wh[w1 + k], w_pitch);
        c00 = coopMultiplyAdd(a0, b0, c00);
        c01 = coopMultiplyAdd(a0, b1, c01);
        c10 = coopMultiplyAdd(a1, b0, c10);
        c11 = coopMultiplyAdd(a1, b1, c11);
    }
    let at = m_in * TILE + n_in;
    coopStoreT(c00, &sums[at], TILE);
    coopStoreT(c01, &sums[at + SIDE], TILE);
    coopStoreT(c10, &sums[at + SIDE * TILE], TILE);
    coopStoreT(c11, &sums[at + SIDE * TILE + SIDE], TILE);
    workgroupBarrier(); // all sums are there

    for (var i = lane; i < TILE * TILE / 4u; i += LANES) {
        let m = m0 + i / (TILE / 4u);
        let n = n0 + i % (TILE / 4u) * 4u;
        if m < p.M && n < p.N {
            let s = i * 4u;
            let e = vec4<u32>(we[b * NP + n], we[b * NP + n + 1u], we[b * NP + n + 2u], we[b * NP + n + 3u]);
            let exponents = vec4<i32>(e) + i32(xe[b * MP + m]) - 2 * ONE;
            let v = times_power(vec4<f32>(sums[s], sums[s + 1u], sums[s + 2u], sums[s + 3u]), exponents);
            let c4 = n / 4u;
            let r = b * p.M + m;
            store4_y(p.y_offset + b * p.y_B + m * p.y_M + c4, apply4_post(v * column_scale4(c4), r, c4));
        }
    }
}

// matmul.int8, second part    y[b, m, n] = post(xs · scale · Σ_k xq[b, m, k] · (w[b, n, k] - w_zero))
//
//   xq       [B, M, KP] i8          in   whole numbers, sixteen at a time, zeros where x has nothing
//   xs       [B, M]     f32         in   what one step of a row is
//   w        [B, N, K]  i8 u8 blocks  in   groups of four along K
//   w_scale  [N, K]     f32         in   of i8 and u8: an element for a tensor, column or group
//   w_zero   [N, K]     i8 u8       in   likewise, may be left out
//   y        [B, M, N]  f32 f16     out  groups of four along N
//
// An invocation owns TM rows and a group of four columns, all in registers; a workgroup is LANES invocations
// side by side along N. Where subgroups are of one small size, each lane loads only TM / HANDED of the rows,
// and lanes hand them to each other: on llvmpipe a load that is the same in all lanes costs as much as 16
// products. The sum over a block of w that shares a scale is a whole number and exact; those of blocks are
// added in f32, k ascending. uint8 is int8 moved down by 128, which is one more zero point. Where a block has a
// least, Σ xq · (scale · code + least) is scale · Σ xq · code + least · Σ xq. What is read of w past the end is
// multiplied with zeros of xq; rows and columns past the end are never written.

alias w_group = u32; // knob: four elements of w
alias y_group = vec4<f32>; // knob: four elements of y
const TM: u32 = 16u; // knob: rows per invocation
const LANES: u32 = 32u; // invocations, all along N
const HANDED: u32 = 1u; // knob: lanes of a subgroup that hand each other rows, or 1
const LOADS: u32 = 16u; // knob: rows that an invocation loads, TM / HANDED
const HANDS: bool = false; // knob: whether lanes hand each other rows
const BLOCKS: bool = false; // knob: whether scales are those of blocks along K
const BLOCK4: u32 = 8u; // knob: groups of four in a block, a multiple of 4
const MOVED: bool = false; // knob: whether w is uint8
const SUMS: bool = false; // knob: whether a zero point is taken from w
const LEASTS: bool = false; // knob: whether blocks have a least
const TWICE: bool = false; // knob: whether scales of blocks are two factors

struct Params {
    B: u32, M: u32, N: u32, K: u32,
    w_offset: u32, w_B: u32, w_N: u32, w_K: u32,
    w_scale_offset: u32, w_scale_N: u32, w_scale_K: u32,
    w_zero_offset: u32, w_zero_N: u32, w_zero_K: u32,
    xq_row: u32,
    y_offset: u32, y_B: u32, y_M: u32,
}

@group(0) @binding(0) var<storage, read> xq: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> xs: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<w_group>;
@group(0) @binding(3) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    //@if HANDS
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let tiles_m = (p.M + TM - 1u) / TM;
    let tiles_n = (p.N + LANES * 4u - 1u) / (LANES * 4u);
    let tile = wg.y * wgs.x + wg.x;
    let b = tile / (tiles_m * tiles_n);
    let m0 = tile % tiles_m * TM;
    let first4 = tile / tiles_m % tiles_n * LANES;
    let c4 = first4 + lane;
    if b >= p.B {
        return;
    }

    var first = m0;
    //@if HANDS
    first += subgroup_lane;
    var row: array<u32, LOADS>;
    //@unroll i 0..LOADS
    for (var i = 0u; i < LOADS; i++) {
        row[i] = (b * p.M + min(first + i * HANDED, p.M - 1u)) * (p.xq_row / 4u);
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
    let k16s = (k4s + 3u) / 4u;
    let block16 = select(max(k16s, 1u), BLOCK4 / 4u, BLOCKS);
    let taken = select(0u, 0x80808080u, MOVED);
    var acc: array<vec4<f32>, TM>;
    for (var block = 0u; block * block16 < k16s; block++) {
        var whole: array<vec4<i32>, TM>;
        var sum: array<i32, TM>;
        let end = min((block + 1u) * block16, k16s);
        //@unroll i 0..TM
        for (var i = 0u; i < TM; i++) {
            whole[i] = vec4<i32>(0);
            sum[i] = 0;
        }
        for (var k16 = block * block16; k16 < end; k16++) {
            var ws: array<vec4<u32>, 4>;
            //@unroll q 0..4
            for (var q = 0u; q < 4u; q++) {
                let at = min(k16 * 4u + q, k4s - 1u) * along;
                //@unroll c 0..4
                for (var c = 0u; c < 4u; c++) {
                    ws[q][c] = whole_w(column[c] + at) ^ taken;
                }
            }
            var loaded: array<vec4<u32>, LOADS>;
            //@unroll i 0..LOADS
            for (var i = 0u; i < LOADS; i++) {
                loaded[i] = xq[row[i] + k16];
            }
            //@unroll i 0..TM
            for (var i = 0u; i < TM; i++) {
                let xw = handed(loaded[i / HANDED], i % HANDED);
                //@unroll q 0..4
                for (var q = 0u; q < 4u; q++) {
                    whole[i] += vec4<i32>(
                        dot4I8Packed(xw[q], ws[q].x), dot4I8Packed(xw[q], ws[q].y),
                        dot4I8Packed(xw[q], ws[q].z), dot4I8Packed(xw[q], ws[q].w),
                    );
                    if SUMS || LEASTS {
                        sum[i] += dot4I8Packed(xw[q], 0x01010101u);
                    }
                }
            }
        }
        var scale: vec4<f32>;
        var beside: vec4<f32>; // a zero point, a least, or a second factor
        //@unroll c 0..4
        for (var c = 0u; c < 4u; c++) {
            let scales = block_of(block, n[c], 0u);
            scale[c] = scales.x;
            beside[c] = scales.y;
        }
        //@unroll i 0..TM
        for (var i = 0u; i < TM; i++) {
            var v = vec4<f32>(whole[i]);
            if SUMS {
                v = vec4<f32>(whole[i] - (vec4<i32>(beside) - select(0, 128, MOVED)) * sum[i]);
            }
            if TWICE {
                v *= beside;
            }
            if LEASTS {
                acc[i] = fma(beside, vec4<f32>(f32(sum[i])), acc[i]);
            }
            acc[i] = fma(scale, v, acc[i]);
        }
    }

    //@unroll i 0..TM
    for (var i = 0u; i < TM; i++) {
        if m0 + i < p.M && c4 * 4u < p.N {
            let v = acc[i] * column_scale4(c4) * xs[b * p.M + m0 + i];
            store4_y(p.y_offset + b * p.y_B + (m0 + i) * p.y_M + c4, apply4_post(v, b * p.M + m0 + i, c4));
        }
    }
}

// matmul.staged, first part    wh[n, k] = w[n, k] · 2^(ONE - e[n]),  ws[n] = scale of column n · 2^(e[n] - ONE),
//                              e[n] = exponent of max_k |w[n, k]|
//
//   w        [N, K]  f32 i8 u8 q8_0  in   groups of four along K
//   w_scale  [N, K]  f32             in   of i8 and u8: an element for a tensor, column or group
//   w_zero   [N, K]  i8 u8           in   likewise, may be left out
//   wh       [N, K]  f16             out  in panels of columns, groups of four along K, zeros past its end
//   ws       [N]     f32             out
//
// So that many rows of x share it, weights are taken apart once. Relative to a power of two of its column, f16
// holds any f32 without overflow; sums are then up to 2^15 times as large as x times K. A workgroup owns COLUMNS
// neighbours, side by side in panels, and reads them twice, from cache the second time.

alias w_group = vec4<f32>; // knob: four elements of w
const COLUMNS: u32 = 16u; // columns of a workgroup
const LANES: u32 = 4u; // invocations that share a column
const WIDTH: u32 = 128u; // columns of a panel of wh, the last of which has as many as are left
const BLOCK4: u32 = 8u; // knob: groups of four in a block of w that shares a scale
const LEAST: f32 = 7.888609052210118e-31; // 2^-100; a column of which nothing reaches it is all zeros
const ONE: u32 = 141u; // the exponent, in the bits of an f32, of what the largest of a column becomes: 2^14

struct Params {
    N: u32, K: u32,
    w_offset: u32, w_B: u32, w_N: u32, w_K: u32,
    w_scale_offset: u32, w_scale_N: u32, w_scale_K: u32,
    w_zero_offset: u32, w_zero_N: u32, w_zero_K: u32,
}

@group(0) @binding(0) var<storage, read> w: array<w_group>;
@group(0) @binding(1) var<storage, read_write> wh: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> ws: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> maxima: array<f32, COLUMNS * LANES>;

fn value4(column: u32, n: u32, k4: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(p.K);
    let v = load_w(column + k4 * w_step(n), block_of(k4 / BLOCK4, n, 0u));
    return select(vec4<f32>(0.0), v, live);
}

@compute @workgroup_size(COLUMNS, LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let own = (wg.y * wgs.x + wg.x) * COLUMNS + index % COLUMNS;
    // Past the last column that one is read again, for the others wait at the barrier.
    let n = min(own, p.N - 1u);
    let lane = index / COLUMNS;
    let column = w_column(0u, n);
    let k4s = (p.K + 3u) / 4u;
    var most = vec4<f32>(0.0);
    for (var k4 = lane; k4 < k4s; k4 += LANES) {
        most = max(most, abs(value4(column, n, k4)));
    }
    maxima[index] = max(max(most.x, most.y), max(most.z, most.w));
    workgroupBarrier(); // every invocation's part is there
    var largest = 0.0;
    for (var i = 0u; i < LANES; i++) {
        largest = max(largest, maxima[i * COLUMNS + index % COLUMNS]);
    }
    let counts = largest >= LEAST;
    let exponent = select(ONE, bitcast<u32>(largest) >> 23u, counts);
    let scale = select(0.0, bitcast<f32>((127u + ONE - exponent) << 23u), counts);
    if own < p.N {
        let first = own / WIDTH * WIDTH;
        let width = min(p.N - first, WIDTH);
        let panel = first * k4s + own % WIDTH;
        for (var k4 = lane; k4 < k4s; k4 += LANES) {
            let v = value4(column, n, k4) * scale;
            wh[panel + k4 * width] = vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
        }
    }
    if lane == 0u && own < p.N {
        ws[n] = column_scale4(n / 4u)[n % 4u] * bitcast<f32>((exponent + 127u - ONE) << 23u);
    }
}

// matmul.split, second part    y[b, m, n] = post(scale · Σ_s part[s, b, m, n])
//
//   part     [SPLITS, B, M, N]  f32      in   groups of four along N
//   w_scale  [N, K]             f32      in   of i8 and u8: an element for a tensor or column
//   y        [B, M, N]          f32 f16  out  groups of four along N
//
// An invocation owns one group of four columns of one row, and adds the shares in their order.

alias y_group = vec4<f32>; // knob: four elements of y
const SPLITS: u32 = 2u; // knob: shares of K
const BLOCK: u32 = 64u; // invocations, along rows and columns

struct Params {
    B: u32, M: u32, N: u32,
    w_scale_offset: u32, w_scale_N: u32, w_scale_K: u32,
    part_row: u32,
    y_offset: u32, y_B: u32, y_M: u32,
}

@group(0) @binding(0) var<storage, read> part: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let n4s = (p.N + 3u) / 4u;
    let i = (wg.y * wgs.x + wg.x) * BLOCK + lane;
    let row = i / n4s;
    let c4 = i % n4s;
    if row >= p.B * p.M {
        return;
    }
    var total = vec4<f32>(0.0);
    for (var s = 0u; s < SPLITS; s++) {
        total += part[(s * p.B * p.M + row) * p.part_row + c4];
    }
    let v = apply4_post(total * column_scale4(c4), row, c4);
    store4_y(p.y_offset + row / p.M * p.y_B + row % p.M * p.y_M + c4, v);
}

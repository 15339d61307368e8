// matmul.int8, first part    xq[b, m, k] = round(x[b, m, k] / xs[b, m]),  xs[b, m] = max_k |x[b, m, k]| / 127
//
//   x   [B, M, K]  f32 f16  in   groups of four along K
//   xq  [B, M, KP] i8       out  sixteen at a time, zeros where x has nothing
//   xs  [B, M]     f32      out
//
// One workgroup per row, which it reads twice, from cache the second time. Ties go to even. A row of which
// nothing reaches LEAST is all zeros: its step would be no normal number, or what it is divided by no number.

alias x_group = vec4<f32>; // knob: four elements of x
const BLOCK: u32 = 64u; // invocations per row, a power of two
const LEAST: f32 = 7.888609052210118e-31; // 2^-100

struct Params {
    B: u32, M: u32, K: u32,
    x_offset: u32, x_B: u32, x_M: u32,
    xq_row: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> xq: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> xs: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

fn value4(row: u32, k4: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(p.K);
    let at = min(k4, (p.K + 3u) / 4u - 1u);
    return select(vec4<f32>(0.0), load4_x(p.x_offset + row / p.M * p.x_B + row % p.M * p.x_M + at), live);
}

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = wg.y * wgs.x + wg.x;
    if row >= p.B * p.M {
        return;
    }
    let k4s = (p.K + 3u) / 4u;
    var most = vec4<f32>(0.0);
    for (var k4 = lane; k4 < k4s; k4 += BLOCK) {
        most = max(most, abs(value4(row, k4)));
    }
    let largest = workgroup_max(max(max(most.x, most.y), max(most.z, most.w)), lane);
    let counts = largest >= LEAST;
    let per_step = select(0.0, 127.0 / max(largest, LEAST), counts);
    for (var k16 = lane; k16 * 4u < k4s; k16 += BLOCK) {
        var words: array<u32, 4>;
        //@unroll q 0..4
        for (var q = 0u; q < 4u; q++) {
            words[q] = pack4xI8(vec4<i32>(round(value4(row, k16 * 4u + q) * per_step)));
        }
        xq[row * (p.xq_row / 4u) + k16] = vec4<u32>(words[0], words[1], words[2], words[3]);
    }
    if lane == 0u {
        xs[row] = select(0.0, largest * 0.007874015748031496, counts);
    }
}

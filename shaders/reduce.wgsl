// reduce    y[r] = post(how_k v[r, k]),  v = pre(x),  how: sum, mean, max, min or product
//
//   x  [R, K]  f32 f16  in
//   y  [R, 1]  f32 f16  out
//
// One workgroup per row: each invocation goes over its groups of four in order, and a tree in
// workgroup memory joins what they found, so a row's bits depend on that row alone.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const BLOCK: u32 = 64u; // invocations per row, a power of two

struct Params {
    R: u32, K: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> partial: array<vec4<f32>, BLOCK>;

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = wg.y * wgs.x + wg.x;
    if r >= p.R {
        return;
    }
    var sum = vec4<f32>(NEUTRAL);
    for (var k4 = lane; k4 * 4u < p.K; k4 += BLOCK) {
        let live = vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(p.K);
        let v = apply4_pre(load4_x(p.x_offset + r * p.x_R + k4), r, k4);
        sum = combine(sum, select(vec4<f32>(NEUTRAL), v, live));
    }
    partial[lane] = sum;
    workgroupBarrier(); // every invocation's part is there
    for (var step = BLOCK / 2u; step > 0u; step >>= 1u) {
        if lane < step {
            partial[lane] = combine(partial[lane], partial[lane + step]);
        }
        workgroupBarrier(); // this half is joined
    }
    if lane == 0u {
        let halves = combine(partial[0], partial[0].zwxy);
        let whole = finish(combine(halves, halves.yxwz), p.K);
        store4_y(p.y_offset + r * p.y_R, apply4_post(vec4<f32>(whole.x, 0.0, 0.0, 0.0), r, 0u));
    }
}

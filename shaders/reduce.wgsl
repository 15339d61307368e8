// reduce    y[r] = post(how_k v[r, k]),  v = pre(x),  how: sum, mean, max, min or product
//
//   x  [R, K]  f32 f16  in
//   y  [R, 1]  f32 f16  out
//
// A team of LANES invocations owns a row: each goes over its groups of four in order, four at a time while
// there are so many, and a tree in workgroup memory joins what they found, so a row's bits depend on that
// row alone.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const LANES: u32 = 8u; // knob: invocations that share a row, a power of two
const TEAMS: u32 = 1u; // knob: rows side by side in a workgroup

struct Params {
    R: u32, K: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> partial: array<vec4<f32>, LANES * TEAMS>;

// v, and in place of what lies past the end of the row what changes nothing.
fn value4(r: u32, k4: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(p.K);
    return select(vec4<f32>(NEUTRAL), apply4_pre(load4_x(p.x_offset + r * p.x_R + k4), r, k4), live);
}

@compute @workgroup_size(LANES, TEAMS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let lane = index % LANES;
    // Past the last row a team does that one again, for the others wait for it at barriers.
    let row = (wg.y * wgs.x + wg.x) * TEAMS + index / LANES;
    let r = min(row, p.R - 1u);
    let groups = (p.K + 3u) / 4u;
    var sum = vec4<f32>(NEUTRAL);
    var k4 = lane;
    for (; k4 + 3u * LANES < groups; k4 += 4u * LANES) {
        //@unroll i 0..4
        for (var i = 0u; i < 4u; i++) {
            sum = combine(sum, value4(r, k4 + i * LANES));
        }
    }
    for (; k4 < groups; k4 += LANES) {
        sum = combine(sum, value4(r, k4));
    }
    partial[index] = sum;
    workgroupBarrier(); // every invocation's part is there
    for (var step = LANES / 2u; step > 0u; step >>= 1u) {
        if lane < step {
            partial[index] = combine(partial[index], partial[index + step]);
        }
        workgroupBarrier(); // this half is joined
    }
    if lane == 0u && row < p.R {
        let halves = combine(partial[index], partial[index].zwxy);
        let whole = finish(combine(halves, halves.yxwz), p.K);
        store4_y(p.y_offset + r * p.y_R, apply4_post(vec4<f32>(whole.x, 0.0, 0.0, 0.0), r, 0u));
    }
}

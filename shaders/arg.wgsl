// arg_max, arg_min    y[r] = the k at which x[r, k] is largest (smallest), of several the first or the last
//
//   x  [R, K]  f32 f16  in
//   y  [R]     u32      out
//
// A team of LANES invocations owns a row. The best that one has seen is a key of lib/order.wgsl with its place;
// the team joins them as a tree in workgroup memory.

alias x_group = vec4<f32>; // knob: four elements of x
const SMALLEST: bool = false; // knob: whether the smallest is asked for
const LAST: bool = false; // knob: whether the last of equal ones is
const LANES: u32 = 8u; // knob: invocations that share a row, a power of two
const TEAMS: u32 = 1u; // knob: rows side by side in a workgroup

struct Params {
    R: u32, K: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> keys: array<u32, LANES * TEAMS>;
var<workgroup> places: array<u32, LANES * TEAMS>;

// Whether the first of two comes before the second.
fn before(key: u32, place: u32, other_key: u32, other_place: u32) -> bool {
    return key > other_key || (key == other_key && (place > other_place) == LAST);
}

@compute @workgroup_size(LANES, TEAMS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let lane = index % LANES;
    let row = (wg.y * wgs.x + wg.x) * TEAMS + index / LANES;
    // Past the last row a team does that one again, for the others wait for it at barriers.
    let r = min(row, p.R - 1u);
    var key = 0u;
    var place = 0u;
    for (var g = lane; g < (p.K + 3u) / 4u; g += LANES) {
        let order = order4(load4_x(p.x_offset + r * p.x_R + g));
        let live = vec4<u32>(0u, 1u, 2u, 3u) + g * 4u < vec4<u32>(p.K);
        let own = select(vec4<u32>(0u), select(order, ~order, SMALLEST), live);
        //@unroll i 0..4
        for (var i = 0u; i < 4u; i++) {
            if own[i] > key || (LAST && own[i] == key && key != 0u) {
                key = own[i];
                place = g * 4u + i;
            }
        }
    }
    keys[index] = key;
    places[index] = place;
    workgroupBarrier(); // every invocation's best is there
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        if lane < step && before(keys[index + step], places[index + step], keys[index], places[index]) {
            keys[index] = keys[index + step];
            places[index] = places[index + step];
        }
        workgroupBarrier(); // this half is joined
    }
    if lane == 0u && row < p.R {
        y[p.y_offset + row] = places[index];
    }
}

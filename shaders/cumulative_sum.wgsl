// cumulative_sum    y[r, c] = post(Σ_i pre(x[r, i])),  i ≤ c, exclusive i < c; in reverse i ≥ c or i > c
//
//   x  [R, C]  f32 f16  in
//   y  [R, C]  f32 f16  out
//
// A team of LANES invocations owns a row and goes over it a tile of LANES groups of four at a time. Each adds up
// its group, the team adds up the groups before each, and what earlier tiles came to is carried on in f32. In
// reverse everything is mirrored: the groups, and the elements within one.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const EXCLUSIVE: bool = false; // knob: whether an element's own sum leaves it out
const REVERSE: bool = false; // knob: whether sums start at the end of a row
const LANES: u32 = 8u; // knob: invocations that share a row, a power of two
const TEAMS: u32 = 1u; // knob: rows side by side in a workgroup

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> sums: array<f32, LANES * TEAMS>;

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
    let groups = (p.C + 3u) / 4u;
    var carried = 0.0;
    for (var tile = 0u; tile < groups; tile += LANES) {
        let g = tile + lane;
        let c4 = select(g, groups - 1u - g, REVERSE);
        var v = vec4<f32>(0.0);
        if g < groups {
            let live = vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u < vec4<u32>(p.C);
            v = select(vec4<f32>(0.0), apply4_pre(load4_x(p.x_offset + r * p.x_R + c4), r, c4), live);
        }
        let own = select(v, v.wzyx, REVERSE);
        let pair = own.x + own.y;
        let three = pair + own.z;
        let all = three + own.w;
        sums[index] = all;
        workgroupBarrier(); // every group is added up
        for (var step = 1u; step < LANES; step *= 2u) {
            var more = 0.0;
            if lane >= step {
                more = sums[index - step];
            }
            workgroupBarrier(); // it is read
            sums[index] += more;
            workgroupBarrier(); // twice as many are joined
        }
        var before = carried;
        if lane > 0u {
            before += sums[index - 1u];
        }
        carried += sums[index - lane + LANES - 1u];
        workgroupBarrier(); // until all have read them, before the next tile overwrites them
        let inner = select(vec4<f32>(own.x, pair, three, all), vec4<f32>(0.0, own.x, pair, three), EXCLUSIVE);
        let total = before + select(inner, inner.wzyx, REVERSE);
        if g < groups && row < p.R {
            store4_y(p.y_offset + r * p.y_R + c4, apply4_post(total, r, c4));
        }
    }
}

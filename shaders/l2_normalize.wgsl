// l2_normalize    y[r, c] = post(v[r, c] / max(sqrt(Σ_c v[r, c]²), eps)),  v = pre(x)
//
//   x  [R, C]  f32 f16  in
//   y  [R, C]  f32 f16  out
//
// A team of LANES invocations owns a row. What it can hold of it in registers it reads once, and if it has
// more rows to do, while it writes the row before; of a row that is longer, it reads the rest again each
// time.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const LANES: u32 = 8u; // knob: invocations that share a row, a power of two
const TEAMS: u32 = 1u; // knob: rows side by side in a workgroup
const TURNS: u32 = 1u; // knob: rows that a team does one after the other
const HELD: u32 = 4u; // knob: groups of four of a row that an invocation holds in registers
const WHOLE: u32 = 0u; // knob: so many of those lie in every row from end to end

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32, y_R: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

fn value4(r: u32, c4: u32) -> vec4<f32> {
    return apply4_pre(load4_x(p.x_offset + r * p.x_R + c4), r, c4);
}

// The group of a row that is read for its group `c4`, the invocation's `i`-th: within the row.
fn place(c4: u32, i: u32) -> u32 {
    return select(min(c4, (p.C - 1u) / 4u), c4, i < WHOLE);
}

// v with 0 for what lies past the end of the row.
fn within(v: vec4<f32>, c4: u32, i: u32) -> vec4<f32> {
    if i < WHOLE {
        return v;
    }
    return select(vec4<f32>(0.0), v, vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u < vec4<u32>(p.C));
}

fn write4(r: u32, c4: u32, normal: vec4<f32>) {
    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(normal, r, c4));
}

@compute @workgroup_size(LANES, TEAMS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let groups = (p.C + 3u) / 4u;
    if groups == 0u {
        return;
    }
    let lane = index % LANES;
    let first = (wg.y * wgs.x + wg.x) * (TEAMS * TURNS) + index / LANES;
    var held: array<vec4<f32>, HELD>;
    //@unroll i 0..HELD
    for (var i = 0u; i < HELD; i++) {
        held[i] = value4(min(first, p.R - 1u), place(lane + i * LANES, i));
    }
    for (var turn = 0u; turn < TURNS; turn++) {
        // Past the last row a team does that one again, for the others wait for it at barriers.
        let row = first + turn * TEAMS;
        let r = min(row, p.R - 1u);
        let next = min(row + TEAMS, p.R - 1u);
        var squares = vec4<f32>(0.0);
        //@unroll i 0..HELD
        for (var i = 0u; i < HELD; i++) {
            let v = within(held[i], lane + i * LANES, i);
            squares += v * v;
        }
        for (var c4 = lane + HELD * LANES; c4 < groups; c4 += LANES) {
            let v = within(value4(r, c4), c4, HELD);
            squares += v * v;
        }
        let total = team_sum(dot(squares, vec4<f32>(1.0)), index);
        // WGSL's sqrt(0) inherits from 1/inverseSqrt(0), which promises nothing; eps is at least 1e-18.
        let norm = max(sqrt(max(total, 1e-36)), p.eps);
        if row < p.R {
            //@unroll i 0..HELD
            for (var i = 0u; i < HELD; i++) {
                let c4 = lane + i * LANES;
                if i < WHOLE || c4 < groups {
                    write4(r, c4, held[i] / norm);
                }
                if turn + 1u < TURNS {
                    held[i] = value4(next, place(c4, i));
                }
            }
            for (var c4 = lane + HELD * LANES; c4 < groups; c4 += LANES) {
                write4(r, c4, value4(r, c4) / norm);
            }
        }
    }
}

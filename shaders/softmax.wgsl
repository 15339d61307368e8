// softmax    y[r, c] = post(exp(v[r, c] - m) / s),  s = Σ_c exp(v[r, c] - m),  m = max_c v,  v = pre(x)
//            with LOG    y[r, c] = post((v[r, c] - m) - log(s))
//
//   x  [R, C]  f32 f16  in
//   y  [R, C]  f32 f16  out
//
// A team of LANES invocations owns a row. What it can hold of it in registers it reads once, and if it has
// more rows to do, while it writes the row before; of a row that is longer, it reads the rest again each
// time. Elements that are -inf are known by their bits, since a compiler may assume that there are none, and
// never reach an exponential: their weight is 0, so a row of nothing else gives 0. Their logarithm is the
// type's least number, since not every device can pack an f16 infinity.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const LOG: bool = false; // knob: whether to write the logarithm
const HIDDEN: f32 = -3.4028234e38; // knob: the logarithm of 0, the least number of y's type
const LANES: u32 = 8u; // knob: invocations that share a row, a power of two
const TEAMS: u32 = 1u; // knob: rows side by side in a workgroup
const TURNS: u32 = 1u; // knob: rows that a team does one after the other
const HELD: u32 = 4u; // knob: groups of four of a row that an invocation holds in registers
const WHOLE: u32 = 0u; // knob: so many of those lie in every row from end to end
const LOWEST: f32 = -3.4028234e38; // nothing finite is less
const LEAST: f32 = -87.0; // exp of less is no normal number

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32, y_R: u32,
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

// Which of four elements lie in the row and are not -inf.
fn counts(v: vec4<f32>, c4: u32, i: u32) -> vec4<bool> {
    let finite = bitcast<vec4<u32>>(v) != vec4<u32>(0xff800000u);
    if i < WHOLE {
        return finite;
    }
    return finite & (vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u < vec4<u32>(p.C));
}

// exp(d) for d ≤ 0, and 0 where that is no normal number.
fn weight4(d: vec4<f32>, counts: vec4<bool>) -> vec4<f32> {
    let e = exp(clamp(d, vec4<f32>(LEAST), vec4<f32>(0.0)));
    return select(vec4<f32>(0.0), e, counts & (d > vec4<f32>(LEAST)));
}

fn logarithm4(v: vec4<f32>, c4: u32, i: u32, top: f32, sum: f32) -> vec4<f32> {
    return select(vec4<f32>(HIDDEN), (v - top) - log(sum), counts(v, c4, i));
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
        var tops = vec4<f32>(LOWEST);
        //@unroll i 0..HELD
        for (var i = 0u; i < HELD; i++) {
            let c4 = lane + i * LANES;
            tops = max(tops, select(vec4<f32>(LOWEST), held[i], counts(held[i], c4, i)));
        }
        for (var c4 = lane + HELD * LANES; c4 < groups; c4 += LANES) {
            let v = value4(r, c4);
            tops = max(tops, select(vec4<f32>(LOWEST), v, counts(v, c4, HELD)));
        }
        let top = team_max(max(max(tops.x, tops.y), max(tops.z, tops.w)), index);

        var masses = vec4<f32>(0.0);
        //@unroll i 0..HELD
        for (var i = 0u; i < HELD; i++) {
            let weight = weight4(held[i] - top, counts(held[i], lane + i * LANES, i));
            masses += weight;
            if !LOG {
                held[i] = weight;
            }
        }
        for (var c4 = lane + HELD * LANES; c4 < groups; c4 += LANES) {
            let v = value4(r, c4);
            masses += weight4(v - top, counts(v, c4, HELD));
        }
        // The largest weighs 1; only where nothing counts is the sum less.
        let sum = max(team_sum(dot(masses, vec4<f32>(1.0)), index), 0.5);
        if row < p.R {
            //@unroll i 0..HELD
            for (var i = 0u; i < HELD; i++) {
                let c4 = lane + i * LANES;
                if i < WHOLE || c4 < groups {
                    var out = held[i] / sum;
                    if LOG {
                        out = logarithm4(held[i], c4, i, top, sum);
                    }
                    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(out, r, c4));
                }
                if turn + 1u < TURNS {
                    held[i] = value4(next, place(c4, i));
                }
            }
            for (var c4 = lane + HELD * LANES; c4 < groups; c4 += LANES) {
                let v = value4(r, c4);
                var out = weight4(v - top, counts(v, c4, HELD)) / sum;
                if LOG {
                    out = logarithm4(v, c4, HELD, top, sum);
                }
                store4_y(p.y_offset + r * p.y_R + c4, apply4_post(out, r, c4));
            }
        }
    }
}

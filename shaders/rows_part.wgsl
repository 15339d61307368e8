// A pass over rows that are cut into shares    part[again, r, s] = Σ or max of f(v[r, c]) over share s, v = pre(x)
//
//   x     [R, C]          f32 f16  in
//   part  [2, R, SPLITS]  f32      out  of the second pass also in: what the first one found
//
// Where rows are few and long, several workgroups do one: for what has to be known of a whole row before any of
// it can be written, a pass each that leaves a number for every share. A share's end depends on C alone, and
// shares are joined in their order, so a row's bits depend on that row alone.

alias x_group = vec4<f32>; // knob: four elements of x
const HOW: u32 = 0u; // knob: f is 0 v, 1 v², 2 v, of which the largest, 3 (v - mean)², 4 exp(v - the largest)
const SPLITS: u32 = 4u; // knob: shares of a row
const LANES: u32 = 8u; // knob: invocations that do a share, a power of two
const TEAMS: u32 = 1u; // knob: shares side by side in a workgroup
const LOWEST: f32 = -3.4028234e38; // nothing finite is less
const LEAST: f32 = -87.0; // exp of less is no normal number

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> part: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

// What a group of the row adds, `given` what the first pass found. Elements that are -inf are known by their
// bits and never count where they may be: before an exponential.
fn term4(r: u32, c4: u32, given: f32) -> vec4<f32> {
    let v = apply4_pre(load4_x(p.x_offset + r * p.x_R + c4), r, c4);
    let live = vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u < vec4<u32>(p.C);
    let finite = bitcast<vec4<u32>>(v) != vec4<u32>(0xff800000u);
    if HOW == 2u {
        return select(vec4<f32>(LOWEST), v, live & finite);
    }
    if HOW == 4u {
        let d = v - given;
        let e = exp(clamp(d, vec4<f32>(LEAST), vec4<f32>(0.0)));
        return select(vec4<f32>(0.0), e, live & finite & (d > vec4<f32>(LEAST)));
    }
    let d = select(vec4<f32>(0.0), v - given, live);
    if HOW == 0u {
        return d;
    }
    return d * d;
}

fn join4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if HOW == 2u {
        return max(a, b);
    }
    return a + b;
}

@compute @workgroup_size(LANES, TEAMS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (wg.y * wgs.x + wg.x) * TEAMS + index / LANES;
    let share = share_of(at, index % LANES);
    let r = share.x;
    var given = 0.0;
    if HOW == 3u {
        given = part_sum(r, 0u, index) / f32(max(p.C, 1u));
    }
    if HOW == 4u {
        given = part_max(r, 0u, index);
    }
    var found = vec4<f32>(select(0.0, LOWEST, HOW == 2u));
    var c4 = share.y;
    for (; c4 + 3u * LANES < share.z; c4 += 4u * LANES) {
        //@unroll i 0..4
        for (var i = 0u; i < 4u; i++) {
            found = join4(found, term4(r, c4 + i * LANES, given));
        }
    }
    for (; c4 < share.z; c4 += LANES) {
        found = join4(found, term4(r, c4, given));
    }
    var whole = 0.0;
    if HOW == 2u {
        whole = team_max(max(max(found.x, found.y), max(found.z, found.w)), index);
    } else {
        whole = team_sum(dot(found, vec4<f32>(1.0)), index);
    }
    if index % LANES == 0u && at < p.R * SPLITS {
        part[(select(0u, p.R, HOW > 2u) + r) * SPLITS + at % SPLITS] = whole;
    }
}

// cross_entropy    y[r] = weight[r] · (log Σ_c exp(x[r, c]) - x[r, labels[r]]),  weight[r] = counts[labels[r]]
//                  with GIVEN    y[r] = -weight[r] · x[r, labels[r]]
//                  both 0 where labels[r] is `ignore` or past the end
//
//   x       [R, C]  f32 f16  in   logits; with GIVEN the logarithms of probabilities
//   labels  [R]     u32      in
//   counts  [C]     f32      in   may be left out: then 1
//   y       [R]     f32      out
//   weight  [R]     f32      out  so that a mean can divide by its sum
//
// A team of LANES invocations owns a row and reads it twice: for the largest, and for the sum of what the
// exponentials of the distances to it are. The probabilities are never stored.

alias x_group = vec4<f32>; // knob: four elements of x
const GIVEN: bool = false; // knob: whether x are logarithms of probabilities
const LANES: u32 = 8u; // knob: invocations that share a row, a power of two
const TEAMS: u32 = 1u; // knob: rows side by side in a workgroup
const LOWEST: f32 = -3.4028234e38; // nothing finite is less
const LEAST: f32 = -87.0; // exp of less is no normal number

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
    labels_offset: u32, counts_offset: u32,
    y_offset: u32, weight_offset: u32,
    ignore: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> weight: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

fn value4(r: u32, c4: u32) -> vec4<f32> {
    return apply4_pre(load4_x(p.x_offset + r * p.x_R + c4), r, c4);
}

fn live4(c4: u32) -> vec4<bool> {
    return vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u < vec4<u32>(p.C);
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
    let groups = (p.C + 3u) / 4u;
    var top = 0.0;
    var log_sum = 0.0;
    if !GIVEN {
        var tops = vec4<f32>(LOWEST);
        for (var c4 = lane; c4 < groups; c4 += LANES) {
            tops = max(tops, select(vec4<f32>(LOWEST), value4(r, c4), live4(c4)));
        }
        top = team_max(max(max(tops.x, tops.y), max(tops.z, tops.w)), index);
        var masses = vec4<f32>(0.0);
        for (var c4 = lane; c4 < groups; c4 += LANES) {
            let d = value4(r, c4) - top;
            let e = exp(clamp(d, vec4<f32>(LEAST), vec4<f32>(0.0)));
            masses += select(vec4<f32>(0.0), e, live4(c4) & (d > vec4<f32>(LEAST)));
        }
        // The largest weighs 1; only where there is nothing is the sum less.
        log_sum = log(max(team_sum(dot(masses, vec4<f32>(1.0)), index), 0.5));
    }
    if lane == 0u && row < p.R {
        let label = labels[p.labels_offset + r];
        var loss = 0.0;
        var own = 0.0;
        if label < p.C && label != p.ignore {
            own = class_weight(label);
            loss = own * (log_sum - (value4(r, label / 4u)[label % 4u] - top));
        }
        y[p.y_offset * 4u + r] = loss;
        weight[p.weight_offset * 4u + r] = own;
    }
}

// softmax    y[r, c] = post(exp(v[r, c] - m) / s),  s = Σ_c exp(v[r, c] - m),  m = max_c v,  v = pre(x)
//            with LOG    y[r, c] = post((v[r, c] - m) - log(s))
//
//   x  [R, C]  f32 f16  in
//   y  [R, C]  f32 f16  out
//
// One workgroup per row. It reads the row three times, from cache after the first: for the largest
// element, for the sum of exponentials, and to write. Elements that are -inf are known by their bits,
// since a compiler may assume that there are none, and never reach an exponential: their weight is
// 0, so a row of nothing else gives 0. Their logarithm is the type's least number, since not every
// device can pack an f16 infinity.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const LOG: bool = false; // knob: whether to write the logarithm
const HIDDEN: f32 = -3.4028234e38; // knob: the logarithm of 0, the least number of y's type
const BLOCK: u32 = 64u; // knob: invocations per row, a power of two
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

// Which of four elements lie in the row and are not -inf.
fn counts(v: vec4<f32>, c4: u32) -> vec4<bool> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u < vec4<u32>(p.C);
    return live & (bitcast<vec4<u32>>(v) != vec4<u32>(0xff800000u));
}

// exp(d) for d ≤ 0, and 0 where that is no normal number.
fn weight4(d: vec4<f32>, counts: vec4<bool>) -> vec4<f32> {
    let e = exp(clamp(d, vec4<f32>(LEAST), vec4<f32>(0.0)));
    return select(vec4<f32>(0.0), e, counts & (d > vec4<f32>(LEAST)));
}

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
    let groups = (p.C + 3u) / 4u;

    var tops = vec4<f32>(LOWEST);
    for (var c4 = lane; c4 < groups; c4 += BLOCK) {
        let v = value4(r, c4);
        tops = max(tops, select(vec4<f32>(LOWEST), v, counts(v, c4)));
    }
    let top = workgroup_max(max(max(tops.x, tops.y), max(tops.z, tops.w)), lane);

    var mass = 0.0;
    for (var c4 = lane; c4 < groups; c4 += BLOCK) {
        let v = value4(r, c4);
        mass += dot(weight4(v - top, counts(v, c4)), vec4<f32>(1.0));
    }
    // The largest weighs 1; only where nothing counts is the sum less.
    let sum = max(workgroup_sum(mass, lane), 0.5);

    for (var c4 = lane; c4 < groups; c4 += BLOCK) {
        let v = value4(r, c4);
        let finite = counts(v, c4);
        var out = weight4(v - top, finite) / sum;
        if LOG {
            out = select(vec4<f32>(HIDDEN), (v - top) - log(sum), finite);
        }
        store4_y(p.y_offset + r * p.y_R + c4, apply4_post(out, r, c4));
    }
}

// softmax.split, last part    y[r, c] = post(exp(v[r, c] - m) / Σ part[1, r, s]),
//            with LOG         y[r, c] = post((v[r, c] - m) - log(Σ part[1, r, s])),
//                             m = max part[0, r, s],  v = pre(x)
//
//   x     [R, C]          f32 f16  in
//   part  [2, R, SPLITS]  f32      in   the largest of the shares of a row, then their sums of exp(v - m)
//   y     [R, C]          f32 f16  out
//
// A team of LANES invocations owns a share of a row, as in the passes before; every team joins the row's parts.
// What is said of -inf in softmax.wgsl holds here too.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const LOG: bool = false; // knob: whether to write the logarithm
const HIDDEN: f32 = -3.4028234e38; // knob: the logarithm of 0, the least number of y's type
const SPLITS: u32 = 4u; // knob: shares of a row
const LANES: u32 = 8u; // knob: invocations that do a share, a power of two
const TEAMS: u32 = 1u; // knob: shares side by side in a workgroup
const LEAST: f32 = -87.0; // exp of less is no normal number

struct Params {
    R: u32, C: u32,
    x_offset: u32, x_R: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> part: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(LANES, TEAMS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let share = share_of((wg.y * wgs.x + wg.x) * TEAMS + index / LANES, index % LANES);
    let r = share.x;
    let top = part_max(r, 0u, index);
    // The largest weighs 1; only where nothing counts is the sum less.
    let sum = max(part_sum(r, 1u, index), 0.5);
    for (var c4 = share.y; c4 < share.z; c4 += LANES) {
        let v = apply4_pre(load4_x(p.x_offset + r * p.x_R + c4), r, c4);
        let finite = bitcast<vec4<u32>>(v) != vec4<u32>(0xff800000u);
        let d = v - top;
        var out: vec4<f32>;
        if LOG {
            out = select(vec4<f32>(HIDDEN), d - log(sum), finite);
        } else {
            let e = exp(clamp(d, vec4<f32>(LEAST), vec4<f32>(0.0)));
            out = select(vec4<f32>(0.0), e, finite & (d > vec4<f32>(LEAST))) / sum;
        }
        store4_y(p.y_offset + r * p.y_R + c4, apply4_post(out, r, c4));
    }
}

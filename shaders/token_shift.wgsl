// token_shift    y[n, b, t, c] = z[t, c] + (z[t - 1, c] - z[t, c]) · mix[n, c],  z[-1] = state[b]
//                then state[b] = z[T - 1]
//                z = x[b], or with a gain layer_norm(x[b]): (x - mean_c x) / sqrt(var_c x + eps) · gain + shift
//
//   x      [B, T, C]     f32 f16  in
//   gain   [C]           f32 f16  in, may be left out, and the shift with it
//   shift  [C]           f32 f16  in
//   mix    [N, C]        f32 f16  in
//   state  [B, C]        f32 f16  in and out
//   y      [N, B, T, C]  f32 f16  out
//
// A workgroup owns RUN positions of a sequence, its invocations every LANES-th group of four channels. A row is
// read again for each thing that is to be known of it, from a cache, and what is to be known of the row before is
// kept. The first workgroup of a sequence reads the state, and so it is the one that writes it: each invocation
// its own channels, after it has read them. It normalises the last row for that, which is another workgroup's.

alias x_group = vec4<f32>; // knob: four elements of x
alias gain_group = vec4<f32>; // knob: four elements of gain
alias shift_group = vec4<f32>; // knob: four elements of shift
alias mix_group = vec4<f32>; // knob: four elements of mix
alias state_group = vec4<f32>; // knob: four elements of state
alias y_group = vec4<f32>; // knob: four elements of y
const NORM: bool = false; // knob: whether rows are normalised
const LANES: u32 = 8u; // knob: invocations of a workgroup, a power of two
const TEAMS: u32 = 1u; // a workgroup has one row at a time
const RUN: u32 = 8u; // positions of a workgroup

struct Params {
    B: u32, T: u32, C: u32, N: u32,
    x_offset: u32, x_B: u32, x_T: u32,
    gain_offset: u32, shift_offset: u32,
    mix_offset: u32, mix_N: u32,
    state_offset: u32, state_B: u32,
    y_offset: u32, y_N: u32, y_B: u32, y_T: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
//@if NORM
@group(0) @binding(1) var<storage, read> gain: array<gain_group>;
//@if NORM
@group(0) @binding(2) var<storage, read> shift: array<shift_group>;
@group(0) @binding(3) var<storage, read> mix: array<mix_group>;
@group(0) @binding(4) var<storage, read_write> y: array<y_group>;
@group(0) @binding(5) var<storage, read_write> state: array<state_group>;
@group(1) @binding(0) var<uniform> p: Params;

// v with 0 for what lies past the end of the row.
fn within(v: vec4<f32>, c4: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), v, vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u < vec4<u32>(p.C));
}

// The mean of a row, and 1 / sqrt(var + eps); the squares are of what is left after subtracting the mean.
fn known(row: u32, index: u32) -> vec2<f32> {
    var of_row = vec2<f32>(0.0, 1.0);
    if NORM {
        let groups = (p.C + 3u) / 4u;
        var sums = vec4<f32>(0.0);
        for (var c4 = index; c4 < groups; c4 += LANES) {
            sums += within(load4_x(row + c4), c4);
        }
        of_row.x = team_sum(dot(sums, vec4<f32>(1.0)), index) / f32(max(p.C, 1u));
        var squares = vec4<f32>(0.0);
        for (var c4 = index; c4 < groups; c4 += LANES) {
            let d = within(load4_x(row + c4) - of_row.x, c4);
            squares += d * d;
        }
        let variance = team_sum(dot(squares, vec4<f32>(1.0)), index) / f32(max(p.C, 1u));
        of_row.y = inverseSqrt(variance + p.eps);
    }
    return of_row;
}

// Four channels of z of a row of which that is known.
fn value4(row: u32, of_row: vec2<f32>, c4: u32) -> vec4<f32> {
    var v = load4_x(row + c4);
    //@if NORM
    v = (v - of_row.x) * of_row.y * load4_gain(p.gain_offset + c4) + load4_shift(p.shift_offset + c4);
    return v;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let runs = (p.T + RUN - 1u) / RUN;
    let id = wg.y * wgs.x + wg.x;
    if p.T == 0u || id / runs >= p.B {
        return;
    }
    let b = id / runs;
    let t0 = id % runs * RUN;
    let groups = (p.C + 3u) / 4u;
    let first = p.x_offset + b * p.x_B;
    var before = vec2<f32>(0.0, 1.0);
    if t0 > 0u {
        before = known(first + (t0 - 1u) * p.x_T, index);
    }
    for (var t = t0; t < min(t0 + RUN, p.T); t++) {
        let row = first + t * p.x_T;
        let here = known(row, index);
        for (var c4 = index; c4 < groups; c4 += LANES) {
            let z = value4(row, here, c4);
            var step = -z;
            if t > 0u {
                step += value4(row - p.x_T, before, c4);
            } else {
                step += load4_state(p.state_offset + b * p.state_B + c4);
            }
            for (var n = 0u; n < p.N; n++) {
                let part = step * load4_mix(p.mix_offset + n * p.mix_N + c4);
                store4_y(p.y_offset + n * p.y_N + b * p.y_B + t * p.y_T + c4, z + part);
            }
        }
        before = here;
    }
    if t0 == 0u {
        let last = first + (p.T - 1u) * p.x_T;
        let of_last = known(last, index);
        for (var c4 = index; c4 < groups; c4 += LANES) {
            store4_state(p.state_offset + b * p.state_B + c4, value4(last, of_last, c4));
        }
    }
}

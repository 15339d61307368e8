// causal_conv    y[b, t, c] = act(bias[c] + Σ_k w[c, k] · z[b, t + k, c]),  z = state, then x, along time
//                state_out[b, s, c] = z[b, T + s, c]
//
//   x          [B, T, C]  f32 f16  in
//   w          [C, K]     f32 f16  in
//   bias       [C]        f32 f16  in, may be left out
//   state      [B, S, C]  f32 f16  in, S = K - 1, zeros if left out
//   y          [B, T, C]  f32 f16  out
//   state_out  [B, S, C]  f32 f16  out
//
// An invocation owns four channels of RUN positions in a row, and the rows of state_out that were read last
// for them: what it reads for one position it has for the next. Neighbours are neighbouring channels. Of the
// runs of a sequence, every PARTS-th is a workgroup's. Taps come in fours, past the last they weigh nothing.

alias x_group = vec4<f32>; // knob: four elements of x
alias w_group = vec4<f32>; // knob: four elements of w
alias bias_group = vec4<f32>; // knob: four elements of bias
alias state_group = vec4<f32>; // knob: four elements of state
alias y_group = vec4<f32>; // knob: four elements of y
alias state_out_group = vec4<f32>; // knob: four elements of state_out
const BIAS: bool = false; // knob: whether there is a bias
const PAST: bool = false; // knob: whether there is a state
const SILU: bool = false; // knob: whether act(v) = v · sigmoid(v), else v
const PARTS: u32 = 1u; // knob: workgroups that share the runs of a sequence
const RUN: u32 = 4u; // positions of an invocation at a time
const WINDOW: u32 = 7u; // what they meet of z by four taps: RUN + 3
const LANES: u32 = 64u; // invocations in a workgroup

struct Params {
    B: u32, T: u32, C: u32, K: u32, S: u32,
    x_offset: u32, x_B: u32, x_T: u32,
    w_offset: u32, w_C: u32,
    bias_offset: u32,
    state_offset: u32, state_B: u32, state_S: u32,
    y_offset: u32, y_B: u32, y_T: u32,
    state_out_offset: u32, state_out_B: u32, state_out_S: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
//@if BIAS
@group(0) @binding(2) var<storage, read> bias: array<bias_group>;
//@if PAST
@group(0) @binding(3) var<storage, read> state: array<state_group>;
@group(0) @binding(4) var<storage, read_write> y: array<y_group>;
@group(0) @binding(5) var<storage, read_write> state_out: array<state_out_group>;
@group(1) @binding(0) var<uniform> p: Params;

// z[b, i], of which there are S + T rows.
fn row4(b: u32, i: u32, c4: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    if i >= p.S {
        v = load4_x(p.x_offset + b * p.x_B + (i - p.S) * p.x_T + c4);
    } else {
        //@if PAST
        v = load4_state(p.state_offset + b * p.state_B + i * p.state_S + c4);
    }
    return v;
}

// Four taps of a channel from tap 4·k4 on; what is past the last channel may be any.
fn taps(c: u32, k4: u32) -> vec4<f32> {
    let v = load4_w(p.w_offset + min(c, p.C - 1u) * p.w_C + k4);
    return select(vec4<f32>(0.0), v, vec4<u32>(0u, 1u, 2u, 3u) + k4 * 4u < vec4<u32>(p.K));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let groups = (p.C + 3u) / 4u;
    let blocks = (groups + LANES - 1u) / LANES;
    let id = wg.y * wgs.x + wg.x;
    let b = id / (blocks * PARTS);
    let c4 = id % blocks * LANES + lane;
    if b >= p.B || c4 >= groups {
        return;
    }
    let last = max(p.T + p.S, 1u) - 1u;
    // Without any position there is a run of none, which hands the state on.
    for (var t0 = id / blocks % PARTS * RUN; t0 < max(p.T, 1u); t0 += PARTS * RUN) {
        var acc: array<vec4<f32>, RUN>;
        //@if BIAS
        let first = load4_bias(p.bias_offset + c4);
        //@unroll i 0..RUN
        for (var i = 0u; i < RUN; i++) {
            acc[i] = vec4<f32>(0.0);
            //@if BIAS
            acc[i] = first;
        }
        for (var k4 = 0u; k4 * 4u < p.K && t0 < p.T; k4++) {
            let w0 = taps(c4 * 4u, k4);
            let w1 = taps(c4 * 4u + 1u, k4);
            let w2 = taps(c4 * 4u + 2u, k4);
            let w3 = taps(c4 * 4u + 3u, k4);
            var z: array<vec4<f32>, WINDOW>;
            //@unroll i 0..WINDOW
            for (var i = 0u; i < WINDOW; i++) {
                z[i] = row4(b, min(t0 + k4 * 4u + i, last), c4);
            }
            //@unroll i 0..RUN
            for (var i = 0u; i < RUN; i++) {
                //@unroll k 0..4
                for (var k = 0u; k < 4u; k++) {
                    acc[i] += vec4<f32>(w0[k], w1[k], w2[k], w3[k]) * z[i + k];
                }
            }
        }
        //@unroll i 0..RUN
        for (var i = 0u; i < RUN; i++) {
            if t0 + i < p.T {
                let at = p.y_offset + b * p.y_B + (t0 + i) * p.y_T + c4;
                if SILU {
                    store4_y(at, silu(acc[i]));
                } else {
                    store4_y(at, acc[i]);
                }
            }
        }
        // Row s of state_out was x at position T + s - S; what came before that is the first run's.
        let begin = t0 + p.S - min(t0 + p.S, p.T);
        let end = t0 + RUN + p.S - min(t0 + RUN + p.S, p.T);
        for (var s = select(begin, 0u, t0 == 0u); s < min(end, p.S); s++) {
            let at = p.state_out_offset + b * p.state_out_B + s * p.state_out_S + c4;
            store4_state_out(at, row4(b, p.T + s, c4));
        }
    }
}

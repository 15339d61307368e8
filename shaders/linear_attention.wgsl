// linear_attention    for t = 0, 1, …, from S = state[b, g]:
//                       S[d, c] ← exp(decay[b, t, g, d]) · S[d, c]
//                       u[c] = beta[b, t, g] · (v[b, t, g, c] - Σ_d k[b, t, g, d] · S[d, c])
//                       S[d, c] ← S[d, c] + k[b, t, g, d] · u[c]
//                       y[b, t, h, c] = scale · Σ_d q[b, t, h, d] · S[d, c],  g = h / (H / G)
//                     what is left is state_out[b, g]; without the delta rule u is v
//
//   q          [B, T, H, D]  f32 f16  in
//   k          [B, T, G, D]  f32 f16  in
//   v          [B, T, G, C]  f32 f16  in
//   decay      [B, T, G, D]  f32 f16  in, or [B, T, G] for all d alike; may be left out: no decay
//   beta       [B, T, G]     f32 f16  in, may be left out: 1
//   state      [B, G, D, C]  f32 f16  in, may be left out: zeros
//   y          [B, T, H, C]  f32 f16  out
//   state_out  [B, G, D, C]  f32 f16  out
//
// The columns of S do not meet, so a workgroup owns 4·TEAMS of one head and walks over the positions with them
// in registers. A team of LANES invocations has four columns, each invocation 4·HELD of their rows; sums over
// the rows go through workgroup memory, by turns in one of two places, so that one barrier is enough for each.
// Neighbours are neighbouring columns. Decays cost an exponential each, so the workgroup shares those of the next
// position, in the other of two places too. On a processor a team is one invocation where columns are short: what
// all read is then loaded once for all.

alias q_group = vec4<f32>; // knob: four elements of q
alias k_group = vec4<f32>; // knob: four elements of k
alias v_group = vec4<f32>; // knob: four elements of v
alias decay_group = vec4<f32>; // knob: four elements of decay
alias beta_group = vec4<f32>; // knob: four elements of beta
alias state_group = vec4<f32>; // knob: four elements of state
alias y_group = vec4<f32>; // knob: four elements of y
alias state_out_group = vec4<f32>; // knob: four elements of state_out
const DELTA: bool = false; // knob: whether what S holds under k is taken off v
const DECAY: bool = false; // knob: whether there is a decay
const EACH: bool = false; // knob: whether every row of S has a decay of its own
const BETA: bool = false; // knob: whether there is a beta
const PAST: bool = false; // knob: whether there is a state
const LANES: u32 = 4u; // knob: invocations that share a column, a power of two
const TEAMS: u32 = 16u; // knob: groups of four columns of a workgroup
const SIZE: u32 = 64u; // knob: invocations, LANES · TEAMS
const HELD: u32 = 1u; // knob: groups of four rows of an invocation, ceil(D / 4 / LANES)
const ROWS: u32 = 4u; // knob: rows of an invocation, 4 · HELD
const WIDTH: u32 = 4u; // knob: groups of four of a column with what the last invocations lack, LANES · HELD

struct Params {
    B: u32, T: u32, H: u32, G: u32, D: u32, C: u32,
    q_offset: u32, q_B: u32, q_T: u32, q_H: u32,
    k_offset: u32, k_B: u32, k_T: u32, k_G: u32,
    v_offset: u32, v_B: u32, v_T: u32, v_G: u32,
    decay_offset: u32, decay_B: u32, decay_T: u32, decay_G: u32,
    beta_offset: u32, beta_B: u32, beta_T: u32,
    state_offset: u32, state_B: u32, state_G: u32, state_D: u32,
    y_offset: u32, y_B: u32, y_T: u32, y_H: u32,
    state_out_offset: u32, state_out_B: u32, state_out_G: u32, state_out_D: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<q_group>;
@group(0) @binding(1) var<storage, read> k: array<k_group>;
@group(0) @binding(2) var<storage, read> v: array<v_group>;
//@if DECAY
@group(0) @binding(3) var<storage, read> decay: array<decay_group>;
//@if BETA
@group(0) @binding(4) var<storage, read> beta: array<beta_group>;
//@if PAST
@group(0) @binding(5) var<storage, read> state: array<state_group>;
@group(0) @binding(6) var<storage, read_write> y: array<y_group>;
@group(0) @binding(7) var<storage, read_write> state_out: array<state_out_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> parts: array<vec4<f32>, 2u * SIZE>;
var<workgroup> decays: array<vec4<f32>, 2u * WIDTH>;

// The sum of `part` over a team, the same in all of it; after this everybody sees what was written to workgroup
// memory before. `turn` is 0 or 1, never twice the same in a row.
fn over_rows(part: vec4<f32>, index: u32, turn: u32) -> vec4<f32> {
    parts[turn * SIZE + index] = part;
    workgroupBarrier(); // every invocation's part is there, and the decays
    var sum = parts[turn * SIZE + index % TEAMS];
    for (var i = 1u; i < LANES; i++) {
        sum += parts[turn * SIZE + index % TEAMS + i * TEAMS];
    }
    return sum;
}

// What a row past the last is multiplied by is 0, and what it decays by 1.
fn within(v: vec4<f32>, d4: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), v, vec4<u32>(0u, 1u, 2u, 3u) + d4 * 4u < vec4<u32>(p.D));
}

// Puts what rows decay by before position `t` where those of every other position are.
fn decays_of(b: u32, g: u32, t: u32, index: u32) {
    for (var d4 = index; d4 < WIDTH; d4 += SIZE) {
        let near = min(d4, max((p.D + 3u) / 4u, 1u) - 1u);
        let at = p.decay_offset + b * p.decay_B + t * p.decay_T + g * p.decay_G + near;
        var rate = vec4<f32>(0.0);
        //@if EACH
        rate = within(load4_decay(at), d4);
        decays[t % 2u * WIDTH + d4] = exp_(rate);
    }
}

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let groups = (p.C + 3u) / 4u;
    let blocks = (groups + TEAMS - 1u) / TEAMS;
    let id = wg.y * wgs.x + wg.x;
    let b = id / (blocks * p.G);
    if b >= p.B {
        return;
    }
    let g = id / blocks % p.G;
    let column = id % blocks * TEAMS + index % TEAMS;
    let c4 = min(column, groups - 1u); // for the others' sake nobody leaves
    let lane = index / TEAMS % LANES; // which a compiler sees to be 0 for teams of one
    let rows4 = max((p.D + 3u) / 4u, 1u);
    let heads = p.H / p.G;

    var s: array<vec4<f32>, ROWS>;
    //@unroll i 0..HELD
    for (var i = 0u; i < HELD; i++) {
        //@unroll r 0..4
        for (var r = 0u; r < 4u; r++) {
            let d = (lane + i * LANES) * 4u + r;
            s[i * 4u + r] = vec4<f32>(0.0);
            if d < p.D {
                let at = b * p.state_B + g * p.state_G + d * p.state_D + c4;
                //@if PAST
                s[i * 4u + r] = load4_state(p.state_offset + at);
            }
        }
    }
    var turn = 0u;
    if EACH && p.T > 0u {
        decays_of(b, g, 0u, index);
        workgroupBarrier(); // they are there
    }
    for (var t = 0u; t < p.T; t++) {
        if EACH && t + 1u < p.T {
            decays_of(b, g, t + 1u, index);
        }
        let k_at = p.k_offset + b * p.k_B + t * p.k_T + g * p.k_G;
        let q_at = p.q_offset + b * p.q_B + t * p.q_T + g * heads * p.q_H;
        let y_at = p.y_offset + b * p.y_B + t * p.y_T + g * heads * p.y_H + c4;
        var rate = vec4<f32>(1.0);
        if DECAY && !EACH {
            let decay_at = p.decay_offset + b * p.decay_B + t * p.decay_T + g / 4u;
            //@if DECAY
            rate = exp_(vec4<f32>(load4_decay(decay_at)[g % 4u]));
        }
        var u = load4_v(p.v_offset + b * p.v_B + t * p.v_T + g * p.v_G + c4);
        if DELTA {
            var held = vec4<f32>(0.0);
            //@unroll i 0..HELD
            for (var i = 0u; i < HELD; i++) {
                let d4 = lane + i * LANES;
                let key = within(load4_k(k_at + min(d4, rows4 - 1u)), d4);
                if EACH {
                    rate = decays[t % 2u * WIDTH + d4];
                }
                //@unroll r 0..4
                for (var r = 0u; r < 4u; r++) {
                    held += key[r] * (rate[r] * s[i * 4u + r]);
                }
            }
            u -= over_rows(held, index, turn);
            turn = 1u - turn;
        }
        //@if BETA
        u *= load4_beta(p.beta_offset + b * p.beta_B + t * p.beta_T + g / 4u)[g % 4u];
        var part = vec4<f32>(0.0); // of the first head
        //@unroll i 0..HELD
        for (var i = 0u; i < HELD; i++) {
            let d4 = lane + i * LANES;
            let near = min(d4, rows4 - 1u);
            let key = within(load4_k(k_at + near), d4);
            let query = within(load4_q(q_at + near), d4);
            if EACH {
                rate = decays[t % 2u * WIDTH + d4];
            }
            //@unroll r 0..4
            for (var r = 0u; r < 4u; r++) {
                s[i * 4u + r] = rate[r] * s[i * 4u + r] + key[r] * u;
                part += query[r] * s[i * 4u + r];
            }
        }
        for (var h = 0u; h < heads; h++) {
            if h > 0u {
                part = vec4<f32>(0.0);
                //@unroll i 0..HELD
                for (var i = 0u; i < HELD; i++) {
                    let d4 = lane + i * LANES;
                    let query = within(load4_q(q_at + h * p.q_H + min(d4, rows4 - 1u)), d4);
                    //@unroll r 0..4
                    for (var r = 0u; r < 4u; r++) {
                        part += query[r] * s[i * 4u + r];
                    }
                }
            }
            let sum = over_rows(part, index, turn);
            turn = 1u - turn;
            if lane == 0u && column < groups {
                store4_y(y_at + h * p.y_H, p.scale * sum);
            }
        }
    }
    //@unroll i 0..HELD
    for (var i = 0u; i < HELD; i++) {
        //@unroll r 0..4
        for (var r = 0u; r < 4u; r++) {
            let d = (lane + i * LANES) * 4u + r;
            if d < p.D && column < groups {
                let at = b * p.state_out_B + g * p.state_out_G + d * p.state_out_D + c4;
                store4_state_out(p.state_out_offset + at, s[i * 4u + r]);
            }
        }
    }
}

// linear_attention    what linear_attention.wgsl computes, CHUNK positions at a time. S being the state before
//                     them, L_t what decays until t leave of it, Π_{s≤t} exp(decay_s), and K_te what those behind
//                     e leave of k_e, Π_{e<s≤t} exp(decay_s) ∘ k_e:
//                       u_t[c] = beta_t · (v_t[c] - Σ_d S[d, c]·(k_t∘L_t)[d] - Σ_{e<t} u_e[c]·(K_te·k_t))
//                       y_t[h, c] = scale · (Σ_d S[d, c]·(q_th∘L_t)[d] + Σ_{e≤t} u_e[c]·(K_te·q_th))
//                       S[d, c] ← L[d]·S[d, c] + Σ_e u_e[c]·K_e[d], as the last position leaves them
//                     without the delta rule u is v
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
// A workgroup owns 4·TEAMS columns of one head, as in linear_attention.wgsl, and waits three times for a chunk
// instead of once for each sum of each position, and once for memory. What positions have to do with each other is
// the same for all columns and computed once: an invocation has four rows of one position, and carries its k
// through the positions behind it. Decays are multiplied out and never divided by, so that nothing grows which
// does not in the recurrence. Meanwhile teams multiply the state that they hold by every k and q. When all that is
// summed, each invocation finds the u of its columns one after the other, and changes its part of S once. Past the
// last position nothing decays, is read or learnt.

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
const HEADS: u32 = 1u; // knob: heads of q that read a head of S
const READS: u32 = 1u; // knob: those, and k where there is the delta rule
const VECTORS: u32 = 2u; // knob: those of q, and k
const LANES: u32 = 4u; // knob: invocations that share a column, a power of two
const TEAMS: u32 = 16u; // knob: groups of four columns of a workgroup
const SIZE: u32 = 64u; // knob: invocations, LANES · TEAMS
const HELD: u32 = 1u; // knob: groups of four rows of an invocation, ceil(D / 4 / LANES)
const ROWS: u32 = 4u; // knob: rows of an invocation, 4 · HELD
const WIDTH: u32 = 4u; // knob: groups of four of a column with what the last invocations lack, LANES · HELD
const CHUNK: u32 = 4u; // knob: positions of a chunk
const PAIRS: u32 = 10u; // knob: of them, the same twice too, CHUNK · (CHUNK + 1) / 2

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

// Of each position: its decays; what S is read by, each head's q of all positions and behind those k; and its k
// as it is left at the chunk's end.
var<workgroup> decays: array<vec4<f32>, CHUNK * WIDTH>;
var<workgroup> reads: array<vec4<f32>, VECTORS * CHUNK * WIDTH>;
var<workgroup> learns: array<vec4<f32>, CHUNK * WIDTH>;
// What k of a position comes to under everything that a later one reads by; the sum over all groups then lies at
// the first.
var<workgroup> pairs: array<f32, PAIRS * READS * WIDTH>;
// S under what it is read by, position by position; the sum over a team then lies at its first invocation.
var<workgroup> parts: array<vec4<f32>, CHUNK * READS * SIZE>;

// What a row past the last is multiplied by is 0.
fn within(v: vec4<f32>, d4: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), v, vec4<u32>(0u, 1u, 2u, 3u) + d4 * 4u < vec4<u32>(p.D));
}

// Where the products of two positions of a chunk lie, `e` being the earlier one or the same.
fn pair(t: u32, e: u32) -> u32 {
    return (t * (t + 1u) / 2u + e) * READS * WIDTH;
}

// Four columns of a row of S before the first position.
fn before(b: u32, g: u32, d: u32, c4: u32) -> vec4<f32> {
    var s = vec4<f32>(0.0);
    if d < p.D {
        //@if PAST
        s = load4_state(p.state_offset + b * p.state_B + g * p.state_G + d * p.state_D + c4);
    }
    return s;
}

// What position `t` learns.
fn value_of(b: u32, g: u32, t: u32, c4: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    if t < p.T {
        v = load4_v(p.v_offset + b * p.v_B + t * p.v_T + g * p.v_G + c4);
    }
    return v;
}

// And how much of it.
fn beta_of(b: u32, g: u32, t: u32) -> f32 {
    var learns = 0.0;
    if t < p.T {
        //@if BETA
        learns = load4_beta(p.beta_offset + b * p.beta_B + t * p.beta_T + g / 4u)[g % 4u];
    }
    return learns;
}

// Loads a chunk from `start` on, but for v and beta.
fn gather(b: u32, g: u32, start: u32, index: u32) {
    for (var i = index; i < CHUNK * WIDTH; i += SIZE) {
        let t = start + i / WIDTH;
        let d4 = i % WIDTH;
        let near = min(d4, max((p.D + 3u) / 4u, 1u) - 1u);
        var rate = vec4<f32>(1.0);
        var key = vec4<f32>(0.0);
        if t < p.T {
            let decay_at = p.decay_offset + b * p.decay_B + t * p.decay_T;
            if EACH {
                //@if DECAY
                rate = exp_(within(load4_decay(decay_at + g * p.decay_G + near), d4));
            } else {
                //@if DECAY
                rate = exp_(vec4<f32>(load4_decay(decay_at + g / 4u)[g % 4u]));
            }
            key = within(load4_k(p.k_offset + b * p.k_B + t * p.k_T + g * p.k_G + near), d4);
        }
        decays[i] = rate;
        reads[HEADS * CHUNK * WIDTH + i] = key;
        for (var n = 0u; n < HEADS; n++) {
            var query = vec4<f32>(0.0);
            if t < p.T {
                let q_at = p.q_offset + b * p.q_B + t * p.q_T + (g * HEADS + n) * p.q_H;
                query = within(load4_q(q_at + near), d4);
            }
            reads[n * CHUNK * WIDTH + i] = query;
        }
    }
}

// Carries what positions learn through those behind them, and multiplies it with what they read.
fn carry(index: u32) {
    for (var i = index; i < CHUNK * WIDTH; i += SIZE) {
        let e = i / WIDTH;
        let d4 = i % WIDTH;
        var key = reads[HEADS * CHUNK * WIDTH + i];
        for (var t = e; t < CHUNK; t++) {
            if DECAY && t > e {
                key *= decays[t * WIDTH + d4];
            }
            //@unroll n 0..READS
            for (var n = 0u; n < READS; n++) {
                pairs[pair(t, e) + n * WIDTH + d4] = dot(key, reads[(n * CHUNK + t) * WIDTH + d4]);
            }
        }
        learns[i] = key;
    }
}

// Sums `pairs` over the groups and `parts` over the teams, each in the place of its first.
fn add_up(index: u32) {
    for (var i = index; i < PAIRS * READS; i += SIZE) {
        var sum = pairs[i * WIDTH];
        for (var d4 = 1u; d4 < WIDTH; d4++) {
            sum += pairs[i * WIDTH + d4];
        }
        pairs[i * WIDTH] = sum;
    }
    for (var i = index / TEAMS; i < CHUNK * READS; i += LANES) {
        let first = i * SIZE + index % TEAMS;
        var sum = parts[first];
        for (var j = 1u; j < LANES; j++) {
            sum += parts[first + j * TEAMS];
        }
        parts[first] = sum;
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
    let team = index % TEAMS;
    let column = id % blocks * TEAMS + team;
    let c4 = min(column, groups - 1u); // for the others' sake nobody leaves
    let lane = index / TEAMS % LANES; // 0 for teams of one, as a compiler sees

    var s: array<vec4<f32>, ROWS>;
    //@unroll i 0..HELD
    for (var i = 0u; i < HELD; i++) {
        //@unroll r 0..4
        for (var r = 0u; r < 4u; r++) {
            s[i * 4u + r] = before(b, g, (lane + i * LANES) * 4u + r, c4);
        }
    }
    for (var start = 0u; start < p.T; start += CHUNK) {
        gather(b, g, start, index);
        var u: array<vec4<f32>, CHUNK>; // v until all sums are there
        //@unroll t 0..CHUNK
        for (var t = 0u; t < CHUNK; t++) {
            u[t] = value_of(b, g, start + t, c4);
        }
        workgroupBarrier(); // what was gathered is there, and nobody is in the chunk before any more
        carry(index);
        var left: array<vec4<f32>, HELD>; // of the state before the chunk
        //@unroll i 0..HELD
        for (var i = 0u; i < HELD; i++) {
            left[i] = vec4<f32>(1.0);
        }
        for (var t = 0u; t < CHUNK; t++) {
            var part: array<vec4<f32>, READS>;
            //@unroll n 0..READS
            for (var n = 0u; n < READS; n++) {
                part[n] = vec4<f32>(0.0);
            }
            //@unroll i 0..HELD
            for (var i = 0u; i < HELD; i++) {
                let at = t * WIDTH + lane + i * LANES;
                if DECAY {
                    left[i] *= decays[at];
                }
                //@unroll n 0..READS
                for (var n = 0u; n < READS; n++) {
                    let read = left[i] * reads[n * CHUNK * WIDTH + at];
                    //@unroll r 0..4
                    for (var r = 0u; r < 4u; r++) {
                        part[n] += read[r] * s[i * 4u + r];
                    }
                }
            }
            //@unroll n 0..READS
            for (var n = 0u; n < READS; n++) {
                parts[(t * READS + n) * SIZE + index] = part[n];
            }
        }
        workgroupBarrier(); // all products are there
        add_up(index);
        workgroupBarrier(); // and their sums
        //@unroll t 0..CHUNK
        for (var t = 0u; t < CHUNK; t++) {
            if DELTA {
                var held = parts[(t * READS + READS - 1u) * SIZE + team];
                //@unroll e 0..CHUNK
                for (var e = 0u; e < CHUNK; e++) {
                    if e < t {
                        held += pairs[pair(t, e) + (READS - 1u) * WIDTH] * u[e];
                    }
                }
                u[t] -= held;
            }
            if BETA {
                u[t] *= beta_of(b, g, start + t);
            }
        }
        for (var i = lane; i < HEADS * min(CHUNK, p.T - start); i += LANES) {
            let t = i / HEADS;
            let n = i % HEADS;
            var sum = parts[(t * READS + n) * SIZE + team];
            //@unroll e 0..CHUNK
            for (var e = 0u; e < CHUNK; e++) {
                if e <= t {
                    sum += pairs[pair(t, e) + n * WIDTH] * u[e];
                }
            }
            if column < groups {
                let y_at = p.y_offset + b * p.y_B + (start + t) * p.y_T + (g * HEADS + n) * p.y_H;
                store4_y(y_at + c4, p.scale * sum);
            }
        }
        //@unroll i 0..HELD
        for (var i = 0u; i < HELD; i++) {
            //@unroll r 0..4
            for (var r = 0u; r < 4u; r++) {
                s[i * 4u + r] *= left[i][r];
            }
            //@unroll t 0..CHUNK
            for (var t = 0u; t < CHUNK; t++) {
                let key = learns[t * WIDTH + lane + i * LANES];
                //@unroll r 0..4
                for (var r = 0u; r < 4u; r++) {
                    s[i * 4u + r] += key[r] * u[t];
                }
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

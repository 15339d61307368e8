// rwkv7    for t = 0, 1, …, with S = state[b, h] and each of r, k, v = rkv[b, t] at h, from what the gates say:
//            v ← v + (first - v) · sigmoid(v0 + gates[v]), with a first
//            d = exp(-e^(-1/2) · sigmoid(w0 + gates[w])),  a = sigmoid(a0 + gates[a])
//            u = k · k_k / max(‖k · k_k‖, norm_eps),  k ← k · (1 + (a - 1) · k_a)
//            S[i, j] ← d[j] · S[i, j] + v[i] · k[j] - (Σ_l S[i, l] · u[l]) · u[j] · a[j]
//            o = S r, less its mean, over the root of its variance and eps, · gain + shift
//            y[b, t, h] = (o + (Σ_j r[j] · k[j] · r_k[j]) · v) · gates[g]
//
//   rkv      [B, T, 3, H, D]     f32 f16  in, of r, k and v
//   gates    [3|4, B, T, H, D]   f32 f16  in, with a first that of v, then w, a and g
//   vectors  [8, H, D]           f32 f16  in, w0, a0, v0, k_k, k_a, r_k, gain and shift
//   first    [B, T, H, D]        f32 f16  in, may be left out
//   state    [B, H, C, D]        f32 f16  in and out, C = D
//   y        [B, T, H, C]        f32 f16  out
//
// A workgroup owns a head, since a norm is over all of its rows, and walks over the positions with S in
// registers: a team of LANES neighbours has four rows, each invocation 4·HELD of their columns. What rows have in
// common is made once, by as many invocations as it has groups of four, and is there for all behind a barrier.

alias rkv_group = vec4<f32>; // knob: four elements of rkv
alias gates_group = vec4<f32>; // knob: four elements of gates
alias vectors_group = vec4<f32>; // knob: four elements of vectors
alias first_group = vec4<f32>; // knob: four elements of first
alias state_group = vec4<f32>; // knob: four elements of state
alias y_group = vec4<f32>; // knob: four elements of y
const FIRST: bool = false; // knob: whether there is a first
const LANES: u32 = 4u; // knob: invocations that share a row, a power of two
const TEAMS: u32 = 16u; // knob: groups of four rows, at least ceil(D / 4), a power of two
const HELD: u32 = 4u; // knob: groups of four columns of an invocation, ceil(D / 4 / LANES)
const ROWS: u32 = 16u; // knob: those of its four rows together, 4 · HELD
const SIZE: u32 = 64u; // knob: invocations, LANES · TEAMS
const RATE: f32 = 0.60653067; // e^(-1/2), which is the fastest decay's

struct Params {
    B: u32, T: u32, H: u32, D: u32,
    rkv_offset: u32, rkv_B: u32, rkv_T: u32, rkv_U: u32, rkv_H: u32,
    gates_offset: u32, gates_N: u32, gates_B: u32, gates_T: u32, gates_H: u32,
    vectors_offset: u32, vectors_V: u32, vectors_H: u32,
    first_offset: u32, first_B: u32, first_T: u32, first_H: u32,
    state_offset: u32, state_B: u32, state_H: u32, state_C: u32,
    y_offset: u32, y_B: u32, y_T: u32, y_H: u32,
    eps: f32, norm_eps: f32,
}

@group(0) @binding(0) var<storage, read> rkv: array<rkv_group>;
@group(0) @binding(1) var<storage, read> gates: array<gates_group>;
@group(0) @binding(2) var<storage, read> vectors: array<vectors_group>;
//@if FIRST
@group(0) @binding(3) var<storage, read> first: array<first_group>;
@group(0) @binding(4) var<storage, read_write> y: array<y_group>;
@group(0) @binding(5) var<storage, read_write> state: array<state_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> reads: array<vec4<f32>, TEAMS>;
var<workgroup> keys: array<vec4<f32>, TEAMS>;
var<workgroup> values: array<vec4<f32>, TEAMS>;
var<workgroup> decays: array<vec4<f32>, TEAMS>;
var<workgroup> rates: array<vec4<f32>, TEAMS>;
// k · k_k; the sums of its squares; and those of r · k · r_k.
var<workgroup> scaled: array<vec4<f32>, TEAMS>;
var<workgroup> squares_of: array<f32, TEAMS>;
var<workgroup> bonuses: array<f32, TEAMS>;
var<workgroup> results: array<vec4<f32>, TEAMS>;
var<workgroup> parts: array<vec4<f32>, 2u * SIZE>;

// exp(-x) of 0 ≤ x < 1. Of a slow decay what matters is 1 minus it: near 0 the first terms of the series.
fn decay(x: vec4<f32>) -> vec4<f32> {
    let series = 1.0 - x * (1.0 - x * (0.5 - x * (1.0 / 6.0)));
    return select(exp(-x), series, x < vec4<f32>(0.015625));
}

// What lies past the last column or row is 0.
fn within(v: vec4<f32>, j4: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), v, vec4<u32>(0u, 1u, 2u, 3u) + j4 * 4u < vec4<u32>(p.D));
}

fn vector4(n: u32, h: u32, j4: u32) -> vec4<f32> {
    return load4_vectors(p.vectors_offset + n * p.vectors_V + h * p.vectors_H + j4);
}

fn gate4(n: u32, b: u32, t: u32, h: u32, j4: u32) -> vec4<f32> {
    return load4_gates(p.gates_offset + n * p.gates_N + b * p.gates_B + t * p.gates_T + h * p.gates_H + j4);
}

// Makes a group of four of all that rows have in common at a position.
fn prepare(b: u32, t: u32, h: u32, j4: u32) {
    let w = select(0u, 1u, FIRST); // the gates of v, if there are any, come before
    let at = p.rkv_offset + b * p.rkv_B + t * p.rkv_T + h * p.rkv_H + j4;
    let read = within(load4_rkv(at), j4);
    let key = within(load4_rkv(at + p.rkv_U), j4);
    var value = within(load4_rkv(at + 2u * p.rkv_U), j4);
    if FIRST {
        let share = sigmoid(within(vector4(2u, h, j4) + gate4(0u, b, t, h, j4), j4));
        //@if FIRST
        let other = load4_first(p.first_offset + b * p.first_B + t * p.first_T + h * p.first_H + j4);
        //@if FIRST
        value += (within(other, j4) - value) * share;
    }
    let rate = sigmoid(within(vector4(1u, h, j4) + gate4(w + 1u, b, t, h, j4), j4));
    let unit = within(key * vector4(3u, h, j4), j4);
    let learnt = within(key * (1.0 + (rate - 1.0) * vector4(4u, h, j4)), j4);
    decays[j4] = decay(RATE * sigmoid(within(vector4(0u, h, j4) + gate4(w, b, t, h, j4), j4)));
    reads[j4] = read;
    keys[j4] = learnt;
    values[j4] = value;
    rates[j4] = rate;
    scaled[j4] = unit;
    squares_of[j4] = dot(unit, unit);
    bonuses[j4] = dot(read * learnt, within(vector4(5u, h, j4), j4));
}

// The sums of `part`, of four rows, over a team, the same in all of it; `turn` is 0 or 1.
fn along_rows(part: vec4<f32>, index: u32, turn: u32) -> vec4<f32> {
    parts[turn * SIZE + index] = part;
    workgroupBarrier(); // every invocation's part is there
    let first_part = turn * SIZE + index / LANES * LANES;
    var sum = parts[first_part];
    for (var i = 1u; i < LANES; i++) {
        sum += parts[first_part + i];
    }
    return sum;
}

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let id = wg.y * wgs.x + wg.x;
    let b = id / p.H;
    if b >= p.B {
        return;
    }
    let h = id % p.H;
    let team = index / LANES;
    let lane = index % LANES;
    let groups = (p.D + 3u) / 4u;
    let last = max(groups, 1u) - 1u;

    var s: array<vec4<f32>, ROWS>;
    //@unroll i 0..4
    for (var i = 0u; i < 4u; i++) {
        let row = p.state_offset + b * p.state_B + h * p.state_H + (team * 4u + i) * p.state_C;
        //@unroll j 0..HELD
        for (var j = 0u; j < HELD; j++) {
            let j4 = lane + j * LANES;
            s[i * HELD + j] = vec4<f32>(0.0);
            if team * 4u + i < p.D && j4 * 4u < p.D {
                s[i * HELD + j] = within(load4_state(row + j4), j4);
            }
        }
    }
    for (var t = 0u; t < p.T; t++) {
        if index < groups {
            prepare(b, t, h, index);
        }
        workgroupBarrier(); // all that rows have in common is there
        var both = vec2<f32>(0.0);
        for (var g = 0u; g < groups; g++) {
            both += vec2<f32>(squares_of[g], bonuses[g]);
        }
        let norm = max(sqrt(max(both.x, 1e-36)), p.norm_eps);
        let value = values[min(team, last)];
        var part = vec4<f32>(0.0);
        //@unroll j 0..HELD
        for (var j = 0u; j < HELD; j++) {
            let j4 = lane + j * LANES;
            let unit = select(vec4<f32>(0.0), scaled[min(j4, last)] / norm, j4 < groups);
            //@unroll i 0..4
            for (var i = 0u; i < 4u; i++) {
                part[i] += dot(unit, s[i * HELD + j]);
            }
        }
        let known = along_rows(part, index, 0u);
        part = vec4<f32>(0.0);
        //@unroll j 0..HELD
        for (var j = 0u; j < HELD; j++) {
            let near = min(lane + j * LANES, last);
            let forget = scaled[near] / norm * rates[near];
            //@unroll i 0..4
            for (var i = 0u; i < 4u; i++) {
                let kept = decays[near] * s[i * HELD + j] + value[i] * keys[near] - known[i] * forget;
                s[i * HELD + j] = select(vec4<f32>(0.0), kept, lane + j * LANES < groups);
                part[i] += dot(reads[near], s[i * HELD + j]);
            }
        }
        let result = within(along_rows(part, index, 1u), team);
        if lane == 0u {
            results[team] = result;
        }
        workgroupBarrier(); // every team's result is there
        var total = 0.0;
        for (var g = 0u; g < groups; g++) {
            total += dot(results[g], vec4<f32>(1.0));
        }
        let mean = total / f32(max(p.D, 1u));
        var squares = 0.0;
        for (var g = 0u; g < groups; g++) {
            let off = within(results[g] - mean, g);
            squares += dot(off, off);
        }
        let scale = inverseSqrt(squares / f32(max(p.D, 1u)) + p.eps);
        if lane == 0u && team < groups {
            let normal = (result - mean) * scale * vector4(6u, h, team) + vector4(7u, h, team);
            let gate = gate4(select(2u, 3u, FIRST), b, t, h, team);
            store4_y(p.y_offset + b * p.y_B + t * p.y_T + h * p.y_H + team, (normal + both.y * value) * gate);
        }
        workgroupBarrier(); // all have read what the next position writes
    }
    //@unroll i 0..4
    for (var i = 0u; i < 4u; i++) {
        let row = p.state_offset + b * p.state_B + h * p.state_H + (team * 4u + i) * p.state_C;
        //@unroll j 0..HELD
        for (var j = 0u; j < HELD; j++) {
            let j4 = lane + j * LANES;
            if team * 4u + i < p.D && j4 * 4u < p.D {
                store4_state(row + j4, s[i * HELD + j]);
            }
        }
    }
}

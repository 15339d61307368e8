// wkv7    what wkv7.wgsl computes, CHUNK positions at a time. S being the state before them, d_t = exp(-exp(w_t)),
//         and B_te, K_te what is left of b_e and k_e of position e before t, Π_{e<s<t} d_s ∘ b_e and so on;
//         u_t, a·S as the recurrence has it before t:
//           u_t[i] = Σ_j S[i, j]·(a_t∘Π_{s<t} d_s)[j] + Σ_{e<t} (u_e[i]·(B_te·a_t) + v_e[i]·(K_te·a_t))
//           y_t[i] = Σ_j S[i, j]·(r_t∘Π_{s≤t} d_s)[j] + Σ_{e≤t} (u_e[i]·(B_{t+1,e}·r_t) + v_e[i]·(K_{t+1,e}·r_t))
//           S[i, j] ← Π_s d_s[j]·S[i, j] + Σ_e (u_e[i]·B_{CHUNK,e}[j] + v_e[i]·K_{CHUNK,e}[j])
//
//   r          [B, T, H, D]     f32 f16  in
//   w          [B, T, H, D]     f32 f16  in
//   k          [B, T, H, D]     f32 f16  in
//   v          [B, T, H, C]     f32 f16  in
//   ab         [B, T, H, 2, D]  f32 f16  in, a and then b
//   state      [B, H, C, D]     f32 f16  in
//   y          [B, T, H, C]     f32 f16  out
//   state_out  [B, H, C, D]     f32 f16  out
//
// A workgroup owns 4·TEAMS rows of one head, as in wkv7.wgsl, and waits three times for a chunk instead of twice
// for each position, and once for memory. What positions have to do with each other is the same for all rows and
// computed once: an invocation has four columns of one position, and carries its b and k through the positions
// behind it. Decays are multiplied out and never divided by, so that nothing grows which does not in the
// recurrence. Meanwhile teams multiply the state that they hold by every a and r. When all that is summed, each
// invocation finds the u of its rows one after the other, and changes its part of S once. Past the last position
// nothing decays, is read or learnt.

alias r_group = vec4<f32>; // knob: four elements of r
alias w_group = vec4<f32>; // knob: four elements of w
alias k_group = vec4<f32>; // knob: four elements of k
alias v_group = vec4<f32>; // knob: four elements of v
alias ab_group = vec4<f32>; // knob: four elements of ab
alias state_group = vec4<f32>; // knob: four elements of state
alias y_group = vec4<f32>; // knob: four elements of y
alias state_out_group = vec4<f32>; // knob: four elements of state_out
const LANES: u32 = 4u; // knob: invocations that share a row, a power of two
const TEAMS: u32 = 16u; // knob: groups of four rows of a workgroup
const SIZE: u32 = 64u; // knob: invocations, LANES · TEAMS
const HELD: u32 = 1u; // knob: groups of four columns of an invocation, ceil(D / 4 / LANES)
const ROWS: u32 = 4u; // knob: those of its four rows together, 4 · HELD
const WIDTH: u32 = 4u; // knob: groups of four of a row with what the last invocations lack, LANES · HELD
const CHUNK: u32 = 4u; // knob: positions of a chunk, at most SIZE / WIDTH
const PAIRS: u32 = 10u; // knob: of them, the same twice too, CHUNK · (CHUNK + 1) / 2

struct Params {
    B: u32, T: u32, H: u32, C: u32, D: u32,
    r_offset: u32, r_B: u32, r_T: u32, r_H: u32,
    w_offset: u32, w_B: u32, w_T: u32, w_H: u32,
    k_offset: u32, k_B: u32, k_T: u32, k_H: u32,
    v_offset: u32, v_B: u32, v_T: u32, v_H: u32,
    ab_offset: u32, ab_B: u32, ab_T: u32, ab_H: u32, ab_U: u32,
    state_offset: u32, state_B: u32, state_H: u32, state_C: u32,
    y_offset: u32, y_B: u32, y_T: u32, y_H: u32,
    state_out_offset: u32, state_out_B: u32, state_out_H: u32, state_out_C: u32,
}

@group(0) @binding(0) var<storage, read> r: array<r_group>;
@group(0) @binding(1) var<storage, read> w: array<w_group>;
@group(0) @binding(2) var<storage, read> k: array<k_group>;
@group(0) @binding(3) var<storage, read> v: array<v_group>;
@group(0) @binding(4) var<storage, read> ab: array<ab_group>;
@group(0) @binding(5) var<storage, read> state: array<state_group>;
@group(0) @binding(6) var<storage, read_write> y: array<y_group>;
@group(0) @binding(7) var<storage, read_write> state_out: array<state_out_group>;
@group(1) @binding(0) var<uniform> p: Params;

// Of each position: its decays, its a and then, behind those of all positions, its r; likewise b and k, as they
// are left at the chunk's end.
var<workgroup> decays: array<vec4<f32>, CHUNK * WIDTH>;
var<workgroup> reads: array<vec4<f32>, 2u * CHUNK * WIDTH>;
var<workgroup> learns: array<vec4<f32>, 2u * CHUNK * WIDTH>;
// What b and k of a position come to under a of a later one, and under its r; the sum over all groups then lies at
// the first.
var<workgroup> pairs: array<vec4<f32>, PAIRS * WIDTH>;
// a·S and r·S, of a position one behind the other; the sum over a team then lies at its first invocation.
var<workgroup> parts: array<vec4<f32>, 2u * CHUNK * SIZE>;

// What a column past the last is multiplied by is 0.
fn within(v: vec4<f32>, j4: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), v, vec4<u32>(0u, 1u, 2u, 3u) + j4 * 4u < vec4<u32>(p.D));
}

// Where the products of two positions of a chunk lie, `e` being the earlier one or the same.
fn pair(t: u32, e: u32) -> u32 {
    return (t * (t + 1u) / 2u + e) * WIDTH;
}

// What a position learns in four columns.
struct Learnt {
    back: vec4<f32>,
    key: vec4<f32>,
}

// Loads what is this invocation's of a chunk from `start` on; others see what the state decays by and is read by.
fn gather(b: u32, h: u32, start: u32, index: u32) -> Learnt {
    let t = start + index / WIDTH;
    let j4 = index % WIDTH;
    var d = vec4<f32>(1.0);
    var a = vec4<f32>(0.0);
    var read = vec4<f32>(0.0);
    var learnt = Learnt(vec4<f32>(0.0), vec4<f32>(0.0));
    if index < CHUNK * WIDTH {
        if t < p.T {
            let near = min(j4, max((p.D + 3u) / 4u, 1u) - 1u);
            let ab_at = p.ab_offset + b * p.ab_B + t * p.ab_T + h * p.ab_H + near;
            d = decay_of(within(load4_w(p.w_offset + b * p.w_B + t * p.w_T + h * p.w_H + near), j4));
            a = within(load4_ab(ab_at), j4);
            read = within(load4_r(p.r_offset + b * p.r_B + t * p.r_T + h * p.r_H + near), j4);
            learnt.back = within(load4_ab(ab_at + p.ab_U), j4);
            learnt.key = within(load4_k(p.k_offset + b * p.k_B + t * p.k_T + h * p.k_H + near), j4);
        }
        decays[index] = d;
        reads[index] = a;
        reads[CHUNK * WIDTH + index] = read;
    }
    return learnt;
}

// Carries what a position learns through those behind it, and multiplies it with what they read.
fn carry(learnt: Learnt, index: u32) {
    var back = learnt.back;
    var key = learnt.key;
    let e = index / WIDTH;
    let j4 = index % WIDTH;
    for (var t = e; t < CHUNK; t++) {
        let at = t * WIDTH + j4;
        let a = reads[at];
        let under = vec2<f32>(dot(back, a), dot(key, a)); // of a position with itself nobody asks
        if t > e {
            back *= decays[at];
            key *= decays[at];
        }
        let read = reads[CHUNK * WIDTH + at];
        pairs[pair(t, e) + j4] = vec4<f32>(under, dot(back, read), dot(key, read));
    }
    if e < CHUNK {
        learns[index] = back;
        learns[CHUNK * WIDTH + index] = key;
    }
}

// Sums `pairs` over the groups and `parts` over the teams, each in the place of its first.
fn add_up(index: u32) {
    for (var i = index; i < PAIRS; i += SIZE) {
        var sum = pairs[i * WIDTH];
        for (var j4 = 1u; j4 < WIDTH; j4++) {
            sum += pairs[i * WIDTH + j4];
        }
        pairs[i * WIDTH] = sum;
    }
    for (var i = index % LANES; i < 2u * CHUNK; i += LANES) {
        let first = i * SIZE + index / LANES * LANES;
        var sum = parts[first];
        for (var j = 1u; j < LANES; j++) {
            sum += parts[first + j];
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
    let blocks = ((p.C + 3u) / 4u + TEAMS - 1u) / TEAMS;
    let id = wg.y * wgs.x + wg.x;
    let b = id / (blocks * p.H);
    if b >= p.B {
        return;
    }
    let h = id / blocks % p.H;
    let row4 = id % blocks * TEAMS + index / LANES;
    let lane = index % LANES;
    let first = index - lane;
    let i4 = min(row4, (p.C + 3u) / 4u - 1u); // for the others' sake nobody leaves

    var s: array<vec4<f32>, ROWS>;
    //@unroll i 0..4
    for (var i = 0u; i < 4u; i++) {
        let row = p.state_offset + b * p.state_B + h * p.state_H + (row4 * 4u + i) * p.state_C;
        //@unroll j 0..HELD
        for (var j = 0u; j < HELD; j++) {
            let j4 = lane + j * LANES;
            s[i * HELD + j] = vec4<f32>(0.0);
            if row4 * 4u + i < p.C && j4 * 4u < p.D {
                s[i * HELD + j] = within(load4_state(row + j4), j4);
            }
        }
    }
    for (var start = 0u; start < p.T; start += CHUNK) {
        let learnt = gather(b, h, start, index);
        var v: array<vec4<f32>, CHUNK>;
        //@unroll t 0..CHUNK
        for (var t = 0u; t < CHUNK; t++) {
            v[t] = vec4<f32>(0.0);
            if start + t < p.T {
                v[t] = load4_v(p.v_offset + b * p.v_B + (start + t) * p.v_T + h * p.v_H + i4);
            }
        }
        workgroupBarrier(); // what was gathered is there, and nobody is in the chunk before any more
        carry(learnt, index);
        var left: array<vec4<f32>, HELD>; // of the state before the chunk
        //@unroll j 0..HELD
        for (var j = 0u; j < HELD; j++) {
            left[j] = vec4<f32>(1.0);
        }
        for (var t = 0u; t < CHUNK; t++) {
            var erased = vec4<f32>(0.0);
            var seen = vec4<f32>(0.0);
            //@unroll j 0..HELD
            for (var j = 0u; j < HELD; j++) {
                let at = t * WIDTH + lane + j * LANES;
                let a = left[j] * reads[at];
                left[j] *= decays[at];
                let read = left[j] * reads[CHUNK * WIDTH + at];
                //@unroll i 0..4
                for (var i = 0u; i < 4u; i++) {
                    erased[i] += dot(a, s[i * HELD + j]);
                    seen[i] += dot(read, s[i * HELD + j]);
                }
            }
            parts[2u * t * SIZE + index] = erased;
            parts[(2u * t + 1u) * SIZE + index] = seen;
        }
        workgroupBarrier(); // all products are there
        add_up(index);
        workgroupBarrier(); // and their sums
        var u: array<vec4<f32>, CHUNK>;
        //@unroll t 0..CHUNK
        for (var t = 0u; t < CHUNK; t++) {
            u[t] = parts[2u * t * SIZE + first];
            //@unroll e 0..CHUNK
            for (var e = 0u; e < CHUNK; e++) {
                if e < t {
                    u[t] += pairs[pair(t, e)].x * u[e] + pairs[pair(t, e)].y * v[e];
                }
            }
        }
        for (var t = lane; t < min(CHUNK, p.T - start); t += LANES) {
            var sum = parts[(2u * t + 1u) * SIZE + first];
            //@unroll e 0..CHUNK
            for (var e = 0u; e < CHUNK; e++) {
                if e <= t {
                    sum += pairs[pair(t, e)].z * u[e] + pairs[pair(t, e)].w * v[e];
                }
            }
            if row4 == i4 {
                store4_y(p.y_offset + b * p.y_B + (start + t) * p.y_T + h * p.y_H + i4, sum);
            }
        }
        //@unroll j 0..HELD
        for (var j = 0u; j < HELD; j++) {
            //@unroll i 0..4
            for (var i = 0u; i < 4u; i++) {
                s[i * HELD + j] *= left[j];
            }
            //@unroll t 0..CHUNK
            for (var t = 0u; t < CHUNK; t++) {
                let back = learns[t * WIDTH + lane + j * LANES];
                let key = learns[(CHUNK + t) * WIDTH + lane + j * LANES];
                //@unroll i 0..4
                for (var i = 0u; i < 4u; i++) {
                    s[i * HELD + j] += u[t][i] * back + v[t][i] * key;
                }
            }
        }
    }
    //@unroll i 0..4
    for (var i = 0u; i < 4u; i++) {
        let row = p.state_out_offset + b * p.state_out_B + h * p.state_out_H + (row4 * 4u + i) * p.state_out_C;
        //@unroll j 0..HELD
        for (var j = 0u; j < HELD; j++) {
            let j4 = lane + j * LANES;
            if row4 * 4u + i < p.C && j4 * 4u < p.D {
                store4_state_out(row + j4, s[i * HELD + j]);
            }
        }
    }
}

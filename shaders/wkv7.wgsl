// wkv7    for t = 0, 1, …, from S = state[b, h], row by row:
//           a·S = Σ_j a[b, t, h, j] · S[i, j]
//           S[i, j] ← exp(-exp(w[b, t, h, j])) · S[i, j] + v[b, t, h, i] · k[b, t, h, j] + a·S · b[b, t, h, j]
//           y[b, t, h, i] = Σ_j r[b, t, h, j] · S[i, j]
//         what is left is state_out[b, h]
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
// The rows of S do not meet, so a workgroup owns 4·TEAMS of one head and walks over the positions with them in
// registers. A team of LANES neighbours has four rows, each invocation 4·HELD of their columns; sums along rows go
// through workgroup memory, by turns in one of two places, so that one barrier is enough for each. Decays cost two
// exponentials each, so the workgroup shares them; they are there when a·S is. On a processor a team is one
// invocation where rows are short: what all read is then loaded once for all.

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
const WIDTH: u32 = 4u; // knob: groups of four of a row, at least ceil(D / 4)

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

var<workgroup> parts: array<vec4<f32>, 2u * SIZE>;
var<workgroup> decays: array<vec4<f32>, WIDTH>;

// What a column past the last is multiplied by is 0.
fn within(v: vec4<f32>, j4: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), v, vec4<u32>(0u, 1u, 2u, 3u) + j4 * 4u < vec4<u32>(p.D));
}

// The sums of `part`, of four rows, over a team, the same in all of it; after this everybody sees what was written
// to workgroup memory before. `turn` is 0 or 1, never twice the same in a row.
fn along_rows(part: vec4<f32>, index: u32, turn: u32) -> vec4<f32> {
    parts[turn * SIZE + index] = part;
    workgroupBarrier(); // every invocation's part is there, and the decays
    let first = turn * SIZE + index / LANES * LANES;
    var sum = parts[first];
    for (var i = 1u; i < LANES; i++) {
        sum += parts[first + i];
    }
    return sum;
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
    let groups = max((p.D + 3u) / 4u, 1u);
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
    var turn = 0u;
    for (var t = 0u; t < p.T; t++) {
        let w_at = p.w_offset + b * p.w_B + t * p.w_T + h * p.w_H;
        for (var j4 = index; j4 < groups; j4 += SIZE) {
            decays[j4] = decay_of(within(load4_w(w_at + j4), j4));
        }
        let ab_at = p.ab_offset + b * p.ab_B + t * p.ab_T + h * p.ab_H;
        var part = vec4<f32>(0.0);
        //@unroll j 0..HELD
        for (var j = 0u; j < HELD; j++) {
            let j4 = lane + j * LANES;
            let a = within(load4_ab(ab_at + min(j4, groups - 1u)), j4);
            //@unroll i 0..4
            for (var i = 0u; i < 4u; i++) {
                part[i] += dot(a, s[i * HELD + j]);
            }
        }
        let sa = along_rows(part, index, turn);
        turn = 1u - turn;
        let value = load4_v(p.v_offset + b * p.v_B + t * p.v_T + h * p.v_H + i4);
        part = vec4<f32>(0.0);
        //@unroll j 0..HELD
        for (var j = 0u; j < HELD; j++) {
            let j4 = lane + j * LANES;
            let near = min(j4, groups - 1u);
            let d = decays[near];
            let key = within(load4_k(p.k_offset + b * p.k_B + t * p.k_T + h * p.k_H + near), j4);
            let back = within(load4_ab(ab_at + p.ab_U + near), j4);
            let read = within(load4_r(p.r_offset + b * p.r_B + t * p.r_T + h * p.r_H + near), j4);
            //@unroll i 0..4
            for (var i = 0u; i < 4u; i++) {
                s[i * HELD + j] = d * s[i * HELD + j] + value[i] * key + sa[i] * back;
                part[i] += dot(read, s[i * HELD + j]);
            }
        }
        let sum = along_rows(part, index, turn);
        turn = 1u - turn;
        if lane == 0u && row4 == i4 {
            store4_y(p.y_offset + b * p.y_B + t * p.y_T + h * p.y_H + i4, sum);
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

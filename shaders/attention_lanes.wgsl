// attention.lanes, first part    of a share of the keys t, and all that attention means:
//     part[row, share] = (Σ_t exp(score - m) v[b, t, g, :],  m, Σ_t exp(score - m)),  m = max_t score
//
//   q        [B, S, H, D]  f32 f16  in
//   k        [B, T, G, D]  f32 f16  in, or rows of a quantised cache; with pages [N, PAGE, G, D]
//   v        [B, T, G, C]  f32 f16  in, likewise
//   lengths  [B]           u32      in, may be left out
//   pages    [B, 1 + T / PAGE]  u32  in, may be left out
//   mask     [B, H, S, T]  f32 f16  in, may be left out
//   slopes   [H]           f32      in, may be left out
//   part     [B · H · S, SHARES, C + 4]  f32  out   rows count over b, h and s
//
// As attention_split.wgsl, for processors, whose lanes load one by one wherever they read: a lane goes over keys
// of its own for the scores and for the weighted sums, and has rows of q and of sums in registers. A workgroup is
// a subgroup, which nothing but its last sums keeps together. No hardware sees a stream in what eight lanes read
// far apart: so the next key, and the value of this, are touched ahead, and wait side by side.

alias q_group = vec4<f32>; // knob: four elements of q
alias k_group = vec4<f32>; // knob: four elements of k
alias v_group = vec4<f32>; // knob: four elements of v
const REACH: u32 = 0u; // knob: 0 all keys are seen; reach is 1 the keys' number, 2 the queries', 3 length(b)
const LEFT: bool = false; // knob: whether keys are hidden for lying too far before a query
const HIDES: bool = false; // knob: whether single keys are hidden from single queries
const LANES: u32 = 8u; // knob: invocations of a subgroup
const ROWS: u32 = 4u; // knob: queries and heads that a workgroup does at once
const D4: u32 = 5u; // knob: groups of D
const TAIL: bool = false; // knob: whether the last of them is not full
const C4: u32 = 5u; // knob: groups of C
const K_LINES: u32 = 0u; // knob: cache lines of the next key to touch
const V_LINES: u32 = 0u; // knob: those of the value
const K_LINE: u32 = 8u; // knob: groups of k in a line
const V_LINE: u32 = 8u; // knob: groups of v
const KEYS: u32 = 256u; // keys of a share
const HIDDEN: f32 = -1.7014118e38; // see attention_online.wgsl
const LOWEST: f32 = -1.7014117e38;

struct Params {
    B: u32, S: u32, T: u32, H: u32, G: u32, D: u32, C: u32,
    q_offset: u32, q_B: u32, q_S: u32, q_H: u32,
    k_offset: u32, k_B: u32, k_T: u32, k_G: u32,
    v_offset: u32, v_B: u32, v_T: u32, v_G: u32,
    lengths_offset: u32, pages_offset: u32, pages_B: u32, N: u32,
    mask_offset: u32, mask_B: u32, mask_H: u32, mask_S: u32,
    slopes_offset: u32,
    part_row: u32,
    left: u32, right: u32,
    scale: f32, softcap: f32,
}

@group(0) @binding(0) var<storage, read> q: array<q_group>;
@group(0) @binding(1) var<storage, read> k: array<k_group>;
@group(0) @binding(2) var<storage, read> v: array<v_group>;
@group(0) @binding(3) var<storage, read_write> part: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> p: Params;

// A lane reads what it wrote itself.
var<workgroup> scores: array<f32, ROWS * KEYS>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows = p.S * (p.H / p.G);
    let blocks = (rows + ROWS - 1u) / ROWS;
    let shares = (p.T + KEYS - 1u) / KEYS;
    var id = wg.y * wgs.x + wg.x;
    let row0 = id % blocks * ROWS;
    id /= blocks;
    let share = id % shares;
    id /= shares;
    let g = id % p.G;
    let b = id / p.G;
    if b >= p.B {
        return;
    }
    let length = kv_length(b);
    let t0 = share * KEYS;
    let end = min(t0 + KEYS, length);

    var kept: array<vec4<f32>, ROWS * max(D4, 1u)>;
    var top: array<f32, ROWS>;
    //@unroll r 0..ROWS
    for (var r = 0u; r < ROWS; r++) {
        let sh = row_of(row0 + r, g);
        top[r] = HIDDEN;
        //@unroll d4 0..D4
        for (var d4 = 0u; d4 < D4; d4++) {
            kept[r * D4 + d4] = query4(b, sh, d4);
        }
    }
    var touched = 0u;
    for (var i = 0u; i < KEYS && t0 + i < end; i += LANES) {
        let key = t0 + i + lane;
        let k_at = k_row(b, min(key, end - 1u)) + g * p.k_G;
        //@unroll line 0..K_LINES
        for (var line = 0u; line < K_LINES; line++) {
            touched = max(touched, touch_k(k_row(b, min(key + LANES, end - 1u)) + g * p.k_G + line * K_LINE));
        }
        //@unroll line 0..V_LINES
        for (var line = 0u; line < V_LINES; line++) {
            touched = max(touched, touch_v(v_row(b, min(key, end - 1u)) + g * p.v_G + line * V_LINE));
        }
        var dots = array<f32, ROWS>();
        var scale = 1.0;
        //@unroll d4 0..D4
        for (var d4 = 0u; d4 < D4; d4++) {
            //@if k_scaled
            if d4 % 8u == 0u { scale = scale_k(k_at, d4 / 8u); }
            let k4 = whole4(four_k(k_at, d4, scale), d4);
            //@unroll r 0..ROWS
            for (var r = 0u; r < ROWS; r++) {
                dots[r] += dot(kept[r * D4 + d4], k4);
            }
        }
        //@unroll r 0..ROWS
        for (var r = 0u; r < ROWS; r++) {
            let sh = row_of(row0 + r, g);
            let score = select(HIDDEN, score_of(dots[r], b, sh, key, length), sees(sh.x, key, length));
            scores[r * KEYS + i + lane] = score;
            top[r] = max(top[r], score);
        }
    }
    //@unroll r 0..ROWS
    for (var r = 0u; r < ROWS; r++) {
        top[r] = subgroupMax(top[r]);
    }
    if p.B == 0u && touched > 0u {
        top[0] = 0.0; // never: so that no compiler leaves out what was touched
    }

    var acc: array<vec4<f32>, ROWS * max(C4, 1u)>;
    var mass: array<f32, ROWS>;
    for (var i = 0u; i < KEYS && t0 + i < end; i += LANES) {
        let v_at = v_row(b, min(t0 + i + lane, end - 1u)) + g * p.v_G;
        let hides = HIDES || t0 + i + lane >= end;
        var e = array<f32, ROWS>();
        //@unroll r 0..ROWS
        for (var r = 0u; r < ROWS; r++) {
            e[r] = relative_weight(scores[r * KEYS + i + lane], top[r]);
            mass[r] += e[r];
        }
        var scale = 1.0;
        //@unroll c4 0..C4
        for (var c4 = 0u; c4 < C4; c4++) {
            //@if v_scaled
            if c4 % 8u == 0u { scale = scale_v(v_at, c4 / 8u); }
            let value = four_v(v_at, c4, scale);
            //@unroll r 0..ROWS
            for (var r = 0u; r < ROWS; r++) {
                acc[r * C4 + c4] += select(e[r] * value, vec4<f32>(0.0), hides && e[r] == 0.0);
            }
        }
    }
    //@unroll r 0..ROWS
    for (var r = 0u; r < ROWS; r++) {
        let sh = row_of(row0 + r, g);
        let at = (((b * p.H + sh.y) * p.S + sh.x) * shares + share) * p.part_row;
        let is_first = lane == 0u && row0 + r < rows;
        //@unroll c4 0..C4
        for (var c4 = 0u; c4 < C4; c4++) {
            let sum = subgroupAdd(acc[r * C4 + c4]);
            if is_first { part[at + c4] = sum; }
        }
        let all = subgroupAdd(mass[r]);
        if is_first { part[at + C4] = vec4<f32>(top[r], all, 0.0, 0.0); }
    }
}

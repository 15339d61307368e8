// attention.split, first part    of a share of the keys t, and all that attention means:
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
// For few queries over many keys. A workgroup owns the keys and values that ROWS rows of one g have in common,
// KEYS of them and 256 columns: each is read once for all heads of the group. A lane goes over keys of its own
// for the scores, and over columns of its own, of every PARTS-th key, for the weighted sum.

alias q_group = vec4<f32>; // knob: four elements of q
alias k_group = vec4<f32>; // knob: four elements of k
alias v_group = vec4<f32>; // knob: four elements of v
const REACH: u32 = 0u; // knob: 0 all keys are seen; reach is 1 the keys' number, 2 the queries', 3 length(b)
const LEFT: bool = false; // knob: whether keys are hidden for lying too far before a query
const HIDES: bool = false; // knob: whether single keys are hidden from single queries
const ROWS: u32 = 4u; // knob: queries and heads that a workgroup does at once
const D4: u32 = 5u; // knob: groups of D
const TAIL: bool = false; // knob: whether the last of them is not full
const COLUMNS: u32 = 8u; // knob: groups of C side by side, a power of two
const PARTS: u32 = 8u; // knob: 64 / COLUMNS
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

var<workgroup> q_tile: array<vec4<f32>, ROWS * D4>;
var<workgroup> scores: array<f32, ROWS * KEYS>;
var<workgroup> tops: array<f32, ROWS * 8u>;
var<workgroup> sums: array<vec4<f32>, ROWS * 64u>;

// Rows of q for all lanes, zeros where there are no more elements.
fn load_rows(b: u32, g: u32, row0: u32, lane: u32) {
    for (var i = lane; i < ROWS * D4; i += 64u) {
        let sh = row_of(row0 + i / D4, g);
        let d4 = i % D4;
        q_tile[i] = vec4<f32>(0.0);
        if d4 * 4u < p.D {
            q_tile[i] = query4(b, sh, d4);
        }
    }
}

// The largest score of a row, once that of each part of it is known.
fn top_of(r: u32) -> f32 {
    var top = HIDDEN;
    for (var i = 0u; i < 8u; i++) {
        top = max(top, tops[r * 8u + i]);
    }
    return top;
}

// What the parts of a row add up to, left for the next dispatch: `at` is where the share's begin.
fn leave(r: u32, at: u32, lane: u32, c4: u32, top: f32) {
    let groups = (p.C + 3u) / 4u;
    if lane < COLUMNS && c4 < groups {
        var total = vec4<f32>(0.0);
        for (var i = 0u; i < PARTS; i++) {
            total += sums[r * 64u + i * COLUMNS + lane];
        }
        part[at + c4] = total;
    }
    // once, by the workgroup of the first columns
    if lane == 0u && c4 == 0u {
        var all = 0.0;
        for (var i = 0u; i < 8u; i++) {
            all += tops[r * 8u + i];
        }
        part[at + groups] = vec4<f32>(top, all, 0.0, 0.0);
    }
}

// Eight lanes add up each row's sums of exponentials.
fn add_up(lane: u32) {
    let of_row = lane / 8u;
    var sum = 0.0;
    if of_row < ROWS {
        for (var i = 0u; i < 8u; i++) {
            sum += sums[of_row * 64u + i * 8u + lane % 8u].x;
        }
        tops[lane] = sum;
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let groups = (p.C + 3u) / 4u;
    let chunks = max((groups + 63u) / 64u, 1u);
    let rows = p.S * (p.H / p.G);
    let blocks = (rows + ROWS - 1u) / ROWS;
    let shares = (p.T + KEYS - 1u) / KEYS;
    var id = wg.y * wgs.x + wg.x;
    let first = id % chunks * 64u; // group of v
    id /= chunks;
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

    load_rows(b, g, row0, lane);
    workgroupBarrier(); // q is there
    for (var i = 0u; i < KEYS; i += 64u) {
        let key = t0 + i + lane;
        var dots = array<f32, ROWS>();
        if t0 + i < end {
            let k_at = k_row(b, min(key, p.T - 1u)) + g * p.k_G;
            var scale = 1.0;
            for (var d4 = 0u; d4 < (p.D + 3u) / 4u; d4++) {
                //@if k_scaled
                if d4 % 8u == 0u { scale = scale_k(k_at, d4 / 8u); }
                let k4 = whole4(four_k(k_at, d4, scale), d4);
                //@unroll r 0..ROWS
                for (var r = 0u; r < ROWS; r++) {
                    dots[r] += dot(q_tile[r * D4 + d4], k4);
                }
            }
        }
        //@unroll r 0..ROWS
        for (var r = 0u; r < ROWS; r++) {
            let sh = row_of(row0 + r, g);
            let score = score_of(dots[r], b, sh, key, length);
            scores[r * KEYS + i + lane] = select(HIDDEN, score, sees(sh.x, key, length));
        }
    }
    workgroupBarrier(); // all scores are there

    // Eight lanes look for each row's largest, at 32 scores each.
    if lane < ROWS * 8u {
        var top = HIDDEN;
        for (var i = 0u; i < KEYS / 8u; i++) {
            top = max(top, scores[lane / 8u * KEYS + i * 8u + lane % 8u]);
        }
        tops[lane] = top;
    }
    workgroupBarrier(); // the largest of each part is known
    var largest: array<f32, ROWS>;
    var mass: array<f32, ROWS>;
    //@unroll r 0..ROWS
    for (var r = 0u; r < ROWS; r++) {
        let top = top_of(r);
        largest[r] = top;
        for (var i = lane; i < KEYS; i += 64u) {
            let e = relative_weight(scores[r * KEYS + i], top);
            scores[r * KEYS + i] = e;
            mass[r] += e;
        }
        sums[r * 64u + lane] = vec4<f32>(mass[r]);
    }
    workgroupBarrier(); // exponentials and their sums are there
    add_up(lane);

    let c4 = first + lane % COLUMNS;
    let v4 = min(c4, max(groups, 1u) - 1u);
    var acc: array<vec4<f32>, ROWS>;
    for (var t = t0 + lane / COLUMNS; t < end && groups > 0u; t += PARTS) {
        let v_at = v_row(b, t) + g * p.v_G;
        let value = four_v(v_at, v4, scale_v(v_at, v4 / 8u));
        //@unroll r 0..ROWS
        for (var r = 0u; r < ROWS; r++) {
            let e = scores[r * KEYS + t - t0];
            acc[r] += select(e * value, vec4<f32>(0.0), HIDES && e == 0.0);
        }
    }
    workgroupBarrier(); // sums was read, and is written again
    //@unroll r 0..ROWS
    for (var r = 0u; r < ROWS; r++) {
        sums[r * 64u + lane] = acc[r];
    }
    workgroupBarrier(); // the parts of the weighted sums are there
    //@unroll r 0..ROWS
    for (var r = 0u; r < ROWS; r++) {
        let sh = row_of(row0 + r, g);
        let at = (((b * p.H + sh.y) * p.S + sh.x) * shares + share) * p.part_row;
        if row0 + r < rows {
            leave(r, at, lane, c4, largest[r]);
        }
    }
}

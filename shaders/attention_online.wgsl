// attention.online    o[b, s, h, :] = Σ_t softmax_t(score) v[b, t, g, :],  g = h / (H / G),
//                     score = capped(scale · q[b, s, h, :] · k[b, t, g, :])
//                             + slopes[h] (t - s - reach + S) + mask[b, h, s, t],
//                     over t < length(b) and, if there is a reach,
//                     s + reach - S - left ≤ t ≤ s + reach - S + right;  0 if none.
//                     sinks[h] is the score of one key more, whose v is 0
//                     lse[b, h, s] = log Σ_t exp(score), that key too
//
//   q        [B, S, H, D]  f32 f16  in
//   k        [B, T, G, D]  f32 f16  in, or rows of a quantised cache; with pages [N, PAGE, G, D]
//   v        [B, T, G, C]  f32 f16  in, likewise
//   lengths  [B]           u32      in, may be left out
//   pages    [B, 1 + T / PAGE]  u32  in, may be left out
//   mask     [B, H, S, T]  f32 f16  in, may be left out
//   slopes   [H]           f32      in, may be left out
//   sinks    [H]           f32      in, may be left out
//   o        [B, S, H, C]  f32 f16  out
//   lse      [B, H, S]     f32      out, if asked for
//
// A workgroup owns 16 queries of one head, and 256 columns of v, and walks over the keys in tiles of 32,
// keeping for each query the largest score so far, the sum of exponentials and the weighted sum of v,
// rescaled when the largest score grows (Milakov and Gimelshein 2018; Dao et al. 2022). Only a tile of
// scores is ever stored, in workgroup memory. More columns than 256 are other workgroups', which go over
// the scores again. The 64 invocations are laid out three times: 4 x 16 blocks of four queries by two keys
// for the scores, 16 queries by 4 parts for the softmax, which subgroups join where there are such, four queries
// by 16 groups of C for the output.
// Tiles start at multiples of 32 whatever the length, so a sequence's bits do not depend on padding. What
// is hidden from a query is left out of its sums, so that v may hold anything there.

alias q_group = vec4<f32>; // knob: four elements of q
alias k_group = vec4<f32>; // knob: four elements of k
alias v_group = vec4<f32>; // knob: four elements of v
alias o_group = vec4<f32>; // knob: four elements of o
const REACH: u32 = 0u; // knob: 0 all keys are seen; reach is 1 the keys' number, 2 the queries', 3 length(b)
const LEFT: bool = false; // knob: whether keys are hidden for lying too far before a query
const HIDES: bool = false; // knob: whether single keys are hidden from single queries
const D16: u32 = 1u; // knob: groups of C per invocation, ceil(C / 64)
const ROWS: u32 = 16u; // queries per workgroup
const KEYS: u32 = 32u; // keys per tile
// Half of f32's least number, so that what is added to it or taken from it stays finite whichever way
// it is rounded: infinities are not to be relied on.
const HIDDEN: f32 = -1.7014118e38;
const LOWEST: f32 = -1.7014117e38; // greater, and the least that a score can be

struct Params {
    B: u32, S: u32, T: u32, H: u32, G: u32, D: u32, C: u32,
    q_offset: u32, q_B: u32, q_S: u32, q_H: u32,
    k_offset: u32, k_B: u32, k_T: u32, k_G: u32,
    v_offset: u32, v_B: u32, v_T: u32, v_G: u32,
    lengths_offset: u32, pages_offset: u32, pages_B: u32, N: u32,
    mask_offset: u32, mask_B: u32, mask_H: u32, mask_S: u32,
    slopes_offset: u32, sinks_offset: u32,
    lse_offset: u32, lse_B: u32, lse_H: u32,
    o_offset: u32, o_B: u32, o_S: u32, o_H: u32,
    left: u32, right: u32,
    scale: f32, softcap: f32,
}

@group(0) @binding(0) var<storage, read> q: array<q_group>;
@group(0) @binding(1) var<storage, read> k: array<k_group>;
@group(0) @binding(2) var<storage, read> v: array<v_group>;
@group(0) @binding(3) var<storage, read_write> o: array<o_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> scores: array<f32, ROWS * KEYS>;
var<workgroup> factor: array<f32, ROWS>;

// Scores of four queries and two keys: q rows at `q_at` and k rows at `k_at`, in groups or words.
fn dot_rows(q_at: vec4<u32>, k_at: vec2<u32>) -> array<vec4<f32>, 2> {
    var sum: array<vec4<f32>, 2>;
    let groups = (p.D + 3u) / 4u;
    var scales = vec2<f32>(1.0);
    for (var d4 = 0u; d4 < groups; d4++) {
        //@if k_scaled
        if d4 % 8u == 0u { scales = vec2<f32>(scale_k(k_at.x, d4 / 8u), scale_k(k_at.y, d4 / 8u)); }
        let live = vec4<u32>(0u, 1u, 2u, 3u) + d4 * 4u < vec4<u32>(p.D);
        let q0 = select(vec4<f32>(0.0), load4_q(q_at.x + d4), live);
        let q1 = select(vec4<f32>(0.0), load4_q(q_at.y + d4), live);
        let q2 = select(vec4<f32>(0.0), load4_q(q_at.z + d4), live);
        let q3 = select(vec4<f32>(0.0), load4_q(q_at.w + d4), live);
        let k0 = select(vec4<f32>(0.0), four_k(k_at.x, d4, scales.x), live);
        let k1 = select(vec4<f32>(0.0), four_k(k_at.y, d4, scales.y), live);
        sum[0] += vec4<f32>(dot(q0, k0), dot(q1, k0), dot(q2, k0), dot(q3, k0));
        sum[1] += vec4<f32>(dot(q0, k1), dot(q1, k1), dot(q2, k1), dot(q3, k1));
    }
    return sum;
}

// The keys from the tile with the first one that some query of a tile sees to behind the last such.
fn seen_by(s0: u32, length: u32, reach: u32) -> vec2<u32> {
    if REACH == 0u {
        return vec2<u32>(0u, length);
    }
    // with more queries than keys, maybe none
    let seen = min(s0 + ROWS, p.S) + reach + min(p.right, p.S + p.T);
    let end = min(length, seen - min(seen, p.S));
    if LEFT {
        let first = s0 + reach - min(s0 + reach, p.S + min(p.left, p.S + p.T));
        return vec2<u32>(first - first % KEYS, end);
    }
    return vec2<u32>(0u, end);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    //@if by_subgroup
    @builtin(subgroup_id) subgroup: u32,
    //@if by_subgroup
    @builtin(subgroup_size) size: u32,
    //@if by_subgroup
    @builtin(subgroup_invocation_id) place: u32,
) {
    var lane = index;
    //@if by_subgroup
    lane = subgroup * size + place;
    let tiles = (p.S + ROWS - 1u) / ROWS;
    let groups = (p.C + 3u) / 4u;
    let chunks = max((groups + 63u) / 64u, 1u);
    let id = (wg.y * wgs.x + wg.x) / chunks;
    let first = (wg.y * wgs.x + wg.x) % chunks * 64u; // group of v
    let b = id / (tiles * p.H);
    if b >= p.B {
        return;
    }
    let h = id / tiles % p.H;
    let g = h / (p.H / p.G);
    let s0 = id % tiles * ROWS;
    let length = kv_length(b);
    let reach = reach_of(length);
    let range = seen_by(s0, length, reach);
    // More to a side than there is changes nothing, and could wrap around.
    let right = min(p.right, p.S + p.T);
    let left = min(p.left, p.S + p.T);

    let block = lane / 16u * 4u; // the four queries of this invocation, for scores and output
    let column = lane % 16u; // its key (and key + 16), or its group of C
    let row = lane / 4u; // its query, for the softmax
    let part = lane % 4u; // its eight keys of the tile
    let q_base = p.q_offset + b * p.q_B + h * p.q_H;
    let s = min(vec4<u32>(0u, 1u, 2u, 3u) + s0 + block, vec4<u32>(p.S - 1u));
    let q_at = q_base + s * p.q_S;

    var largest = HIDDEN;
    var sum = 0.0;
    var acc: array<vec4<f32>, D16 * 4u>;

    for (var t0 = range.x; t0 < range.y; t0 += KEYS) {
        let t = min(vec2<u32>(column, column + 16u) + t0, vec2<u32>(p.T - 1u));
        let dots = dot_rows(q_at, vec2<u32>(k_row(b, t.x), k_row(b, t.y)) + g * p.k_G);
        //@unroll j 0..2
        for (var j = 0u; j < 2u; j++) {
            let key = t0 + column + j * 16u;
            // how far behind the first query's place the key lies, and what that adds
            let along = f32(i32(key + p.S) - i32(s0 + block + reach));
            let score4 = tilted(capped(dots[j] * p.scale), h, along - vec4<f32>(0.0, 1.0, 2.0, 3.0));
            //@unroll i 0..4
            for (var i = 0u; i < 4u; i++) {
                let last = s0 + block + i + reach; // of the keys that causality shows, S further on
                let near = !LEFT || key + p.S + left >= last;
                let seen = key < range.y && near && (REACH == 0u || key + p.S <= last + right);
                let score = masked(score4[i], b, h, s[i], t[j]);
                scores[(block + i) * KEYS + column + j * 16u] = select(HIDDEN, score, seen);
            }
        }
        workgroupBarrier(); // the tile of scores is complete

        var top = HIDDEN;
        for (var i = 0u; i < 8u; i++) {
            top = max(top, scores[row * KEYS + part * 8u + i]);
        }
        top = max(quad_max(top, lane), largest);
        let shrink = relative_weight(largest, top);
        var mass = 0.0;
        for (var i = 0u; i < 8u; i++) {
            let at = row * KEYS + part * 8u + i;
            let e = relative_weight(scores[at], top);
            scores[at] = e;
            mass += e;
        }
        if part == 0u {
            factor[row] = shrink;
        }
        sum = sum * shrink + quad_sum(mass, lane); // exponentials and factors are there, too
        largest = top;

        let keys = min(KEYS, range.y - t0);
        //@unroll i 0..4
        for (var i = 0u; i < 4u; i++) {
            //@unroll d 0..D16
            for (var d = 0u; d < D16; d++) {
                acc[i * D16 + d] *= factor[block + i];
            }
        }
        for (var j = 0u; j < keys; j++) {
            let v_at = v_row(b, t0 + j) + g * p.v_G;
            //@unroll d 0..D16
            for (var d = 0u; d < D16; d++) {
                let c4 = min(first + column + d * 16u, max(groups, 1u) - 1u);
                let value = four_v(v_at, c4, scale_v(v_at, c4 / 8u));
                //@unroll i 0..4
                for (var i = 0u; i < 4u; i++) {
                    let e = scores[(block + i) * KEYS + j];
                    acc[i * D16 + d] += select(e * value, vec4<f32>(0.0), HIDES && e == 0.0);
                }
            }
        }
        workgroupBarrier(); // scores and factors were read, and are written again
    }

    if part == 0u {
        let all = with_sink(h, largest, sum);
        factor[row] = all.x;
        if s0 + row < p.S && first == 0u {
            write_lse(b, h, s0 + row, all.y, all.z);
        }
    }
    workgroupBarrier(); // the inverse sums are there
    //@unroll i 0..4
    for (var i = 0u; i < 4u; i++) {
        if s0 + block + i < p.S {
            //@unroll d 0..D16
            for (var d = 0u; d < D16; d++) {
                let c4 = first + column + d * 16u;
                if c4 < groups {
                    let at = p.o_offset + b * p.o_B + (s0 + block + i) * p.o_S + h * p.o_H + c4;
                    store4_o(at, acc[i * D16 + d] * factor[block + i]);
                }
            }
        }
    }
}

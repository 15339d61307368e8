// attention.matrix, last part    o[b, s, h, :] = Σ_t softmax_t(score) v[b, t, g, :],
//                                score = capped(scale · 2^(e + e') qh[b, g, row, :] · kh[b, g, t, :]) and so on
//
//   qh       [B · G · rows + TILE, DP + 8]  f16  in   rows padded with zeros to whole matrices, and e behind DP
//   kh       [B · G · T + KEYS, DP + 8]     f16  in   likewise
//   v        [B, T, G, C]  f32 f16  in, or rows of a quantised cache; with pages [N, PAGE, G, C]
//   lengths  [B]           u32      in, may be left out
//   pages    [B, 1 + T / PAGE]  u32  in, may be left out
//   mask     [B, H, S, T]  f32 f16  in, may be left out
//   slopes   [H]           f32      in, may be left out
//   sinks    [H]           f32      in, may be left out
//   o        [B, S, H, C]  f32 f16  out
//   lse      [B, H, S]     f32      out, if asked for
//
// For many queries on cooperative matrices of SIDE x SIDE. A workgroup is four subgroups and owns TILE rows,
// queries of heads that have keys and values in common; it walks over those keys KEYS at a time, as
// attention.online does. Scores are made of matrices, SIDE rows of them by each subgroup, straight from buffers; a
// tile's rows and keys behind the last are those of the next g, which nobody sees. Weights stay f32, and what they
// weigh is summed in registers: what a shader itself wrote to workgroup memory may not be seen by coopLoad (wgpu
// #8805). What coopStore leaves there drivers show after a barrier, as they show all else, though nothing in
// naga's SPIR-V says so either. No operation on matrices may stand under a condition that differs between
// invocations, or in a function.

alias mat_a = coop_mat16x16<f16, A>; // knob: of qh
alias mat_b = coop_mat16x16<f16, B>; // knob: of kh
alias mat_c = coop_mat16x16<f32, C>; // knob: of scores
alias v_group = vec4<f32>; // knob: four elements of v
alias o_group = vec4<f32>; // knob: four elements of o
const REACH: u32 = 0u; // knob: 0 all keys are seen; reach is 1 the keys' number, 2 the queries', 3 length(b)
const LEFT: bool = false; // knob: whether keys are hidden for lying too far before a query
const HIDES: bool = false; // knob: whether single keys are hidden from single queries
const SIDE: u32 = 16u; // knob: rows and columns of a matrix
const TILE: u32 = 64u; // knob: rows of a workgroup, four times as many
const KEYS: u32 = 32u; // knob: keys of a tile, twice as many
const LANES: u32 = 128u; // knob: invocations in four subgroups
const COLUMNS: u32 = 8u; // knob: invocations that share four rows, LANES / SIDE
const HELD: u32 = 2u; // knob: groups of C of an invocation
const CHUNK: u32 = 16u; // knob: groups of C of a workgroup, COLUMNS · HELD
const DP: u32 = 64u; // knob: elements of D, padded to whole matrices
const HIDDEN: f32 = -1.7014118e38; // see attention_online.wgsl
const LOWEST: f32 = -1.7014117e38;

struct Params {
    B: u32, S: u32, T: u32, H: u32, G: u32, C: u32,
    v_offset: u32, v_B: u32, v_T: u32, v_G: u32,
    lengths_offset: u32, pages_offset: u32, pages_B: u32, N: u32,
    mask_offset: u32, mask_B: u32, mask_H: u32, mask_S: u32,
    slopes_offset: u32, sinks_offset: u32,
    lse_offset: u32, lse_B: u32, lse_H: u32,
    qh_row: u32, kh_row: u32,
    o_offset: u32, o_B: u32, o_S: u32, o_H: u32,
    left: u32, right: u32,
    scale: f32, softcap: f32,
}

@group(0) @binding(0) var<storage, read> qh: array<f16>;
@group(0) @binding(1) var<storage, read> kh: array<f16>;
@group(0) @binding(2) var<storage, read> v: array<v_group>;
@group(0) @binding(3) var<storage, read_write> o: array<o_group>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> scores: array<f32, TILE * KEYS>;
var<workgroup> part_tops: array<f32, TILE * 4u>;
var<workgroup> part_masses: array<f32, TILE * 4u>;
var<workgroup> tops: array<f32, TILE>;
var<workgroup> masses: array<f32, TILE>;
var<workgroup> factor: array<f32, TILE>;

// The largest score of a row so far, with this tile's, whose parts are there.
fn top_of(row: u32) -> f32 {
    let at = row * 4u;
    let first = max(part_tops[at], part_tops[at + 1u]);
    return max(tops[row], max(first, max(part_tops[at + 2u], part_tops[at + 3u])));
}

// Scores of the live rows and of keys from t0 on, of a quarter of a row's at a time, instead of products.
fn score_tile(b: u32, g: u32, row0: u32, live: u32, t0: u32, length: u32, lane: u32) {
    for (var i = lane; i < live * 4u; i += LANES) {
        let row = i / 4u;
        let sh = row_of(row0 + row, g);
        let group = b * p.G + g;
        let power = i32(qh[(group * p.S * (p.H / p.G) + row0 + row) * p.qh_row * 4u + DP]);
        var top = HIDDEN;
        for (var j = i % 4u; j < KEYS; j += 4u) {
            let n = power + i32(kh[(group * p.T + t0 + j) * p.kh_row * 4u + DP]);
            let dots = times_power(vec4<f32>(scores[row * KEYS + j]), vec4<i32>(n)).x;
            let score = score_of(dots, b, sh, t0 + j, length);
            let seen = select(HIDDEN, score, sees(sh.x, t0 + j, length));
            scores[row * KEYS + j] = seen;
            top = max(top, seen);
        }
        part_tops[i] = top;
    }
}

// Weights instead of scores, their sums, and what sums of tiles before are multiplied by.
fn weigh_tile(live: u32, lane: u32) {
    for (var i = lane; i < live * 4u; i += LANES) {
        let row = i / 4u;
        let top = top_of(row);
        var mass = 0.0;
        for (var j = i % 4u; j < KEYS; j += 4u) {
            let e = relative_weight(scores[row * KEYS + j], top);
            scores[row * KEYS + j] = e;
            mass += e;
        }
        part_masses[i] = mass;
        if i % 4u == 0u {
            factor[row] = relative_weight(tops[row], top);
        }
    }
}

// Has each row's largest score and sum of weights with this tile's.
fn add_tile(live: u32, lane: u32) {
    for (var row = lane; row < live; row += LANES) {
        let at = row * 4u;
        let mass = (part_masses[at] + part_masses[at + 1u]) + (part_masses[at + 2u] + part_masses[at + 3u]);
        masses[row] = masses[row] * factor[row] + mass;
        tops[row] = top_of(row);
    }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let rows = p.S * (p.H / p.G);
    let blocks = (rows + TILE - 1u) / TILE;
    let groups = (p.C + 3u) / 4u;
    let chunks = max((groups + CHUNK - 1u) / CHUNK, 1u);
    let id = wg.y * wgs.x + wg.x;
    let first = id % chunks * CHUNK; // group of v
    let row0 = id / chunks % blocks * TILE;
    let g = id / chunks / blocks % p.G;
    let b = id / chunks / blocks / p.G;
    if b >= p.B {
        return;
    }
    let length = kv_length(b);
    let live = min(TILE, rows - row0); // rows that there are
    let range = seen_by(queries_of(row0, row0 + live - 1u), length, KEYS);
    let q_pitch = p.qh_row * 4u;
    let k_pitch = p.kh_row * 4u;
    let q_at = ((b * p.G + g) * rows + row0 + subgroup * SIDE) * q_pitch;

    let block = lane / COLUMNS * 4u; // the four rows of this invocation
    let column = first + lane % COLUMNS; // the first of its groups of C
    var acc: array<vec4<f32>, 4u * HELD>;
    for (var row = lane; row < TILE; row += LANES) {
        tops[row] = HIDDEN;
        masses[row] = 0.0;
        factor[row] = 0.0; // of rows that there are not, nobody else writes it
    }
    for (var t0 = range.x; t0 < range.y; t0 += KEYS) {
        let k_at = ((b * p.G + g) * p.T + t0) * k_pitch;
        var c0 = mat_c();
        var c1 = mat_c();
        for (var d = 0u; d < DP; d += SIDE) {
            let a = coopLoadT<mat_a>(&qh[q_at + d], q_pitch);
            let b0 = coopLoad<mat_b>(&kh[k_at + d], k_pitch);
            let b1 = coopLoad<mat_b>(&kh[k_at + SIDE * k_pitch + d], k_pitch);
            c0 = coopMultiplyAdd(a, b0, c0);
            c1 = coopMultiplyAdd(a, b1, c1);
        }
        workgroupBarrier(); // weights of the tile before were read
        let at = subgroup * SIDE * KEYS;
        coopStoreT(c0, &scores[at], KEYS);
        coopStoreT(c1, &scores[at + SIDE], KEYS);
        workgroupBarrier(); // all products are there
        score_tile(b, g, row0, live, t0, length, lane);
        workgroupBarrier(); // the largest score of each quarter of a row is there
        weigh_tile(live, lane);
        workgroupBarrier(); // weights, their sums and the factors are there
        add_tile(live, lane);

        //@unroll i 0..4
        for (var i = 0u; i < 4u; i++) {
            //@unroll c 0..HELD
            for (var c = 0u; c < HELD; c++) {
                acc[i * HELD + c] *= factor[block + i];
            }
        }
        for (var j = 0u; j < min(KEYS, range.y - t0) && block < live; j++) {
            let v_at = v_row(b, t0 + j) + g * p.v_G;
            //@unroll c 0..HELD
            for (var c = 0u; c < HELD; c++) {
                let c4 = min(column + c * COLUMNS, max(groups, 1u) - 1u);
                let value = four_v(v_at, c4, scale_v(v_at, c4 / 8u));
                //@unroll i 0..4
                for (var i = 0u; i < 4u; i++) {
                    let e = scores[(block + i) * KEYS + j];
                    acc[i * HELD + c] += select(e * value, vec4<f32>(0.0), HIDES && e == 0.0);
                }
            }
        }
    }
    workgroupBarrier(); // all sums are there
    //@unroll i 0..4
    for (var i = 0u; i < 4u; i++) {
        let sh = row_of(row0 + block + i, g);
        let all = with_sink(sh.y, tops[block + i], masses[block + i]);
        if block + i < live {
            if column == 0u {
                write_lse(b, sh.y, sh.x, all.y, all.z);
            }
            let to = p.o_offset + b * p.o_B + sh.x * p.o_S + sh.y * p.o_H;
            //@unroll c 0..HELD
            for (var c = 0u; c < HELD; c++) {
                let c4 = column + c * COLUMNS;
                if c4 < groups {
                    store4_o(to + c4, acc[i * HELD + c] * all.x);
                }
            }
        }
    }
}

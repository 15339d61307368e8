// attention.rows    o[b, s, h, :] = Σ_t softmax_t(scale q[b, s, h, :] · k[b, t, g, :]) v[b, t, g, :]
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
// For many queries on a processor, where a load that is the same for all lanes costs a fraction of one that is
// not: a lane owns ROWS rows, queries of heads that have keys and values in common, and all lanes walk over those
// together, four at a time. They lie in workgroup memory, where nobody checks each element's bounds, and where
// what a cache's form takes to decode is done once. Sums are rescaled when a larger score comes (Milakov and
// Gimelshein 2018).

alias q_group = vec4<f32>; // knob: four elements of q
alias k_group = vec4<f32>; // knob: four elements of k
alias v_group = vec4<f32>; // knob: four elements of v
alias o_group = vec4<f32>; // knob: four elements of o
const REACH: u32 = 0u; // knob: 0 all keys are seen; reach is 1 the keys' number, 2 the queries', 3 length(b)
const LEFT: bool = false; // knob: whether keys are hidden for lying too far before a query
const MASKED: bool = false; // knob: whether there is a mask
const FOURS: u32 = 2u; // knob: fours of keys that lie in workgroup memory at once
const LANES: u32 = 8u; // knob: invocations of a workgroup
const ROWS: u32 = 2u; // knob: queries and heads that a lane does at once
const D4: u32 = 5u; // knob: groups of D
const TAIL: bool = false; // knob: whether the last of them is not full
const C4: u32 = 5u; // knob: groups of C
const HIDDEN: f32 = -1.7014118e38; // see attention_online.wgsl
const LOWEST: f32 = -1.7014117e38;

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

// Keys and values by fours. Indices of all but these are literals, so what naga clamps is one of them at a time.
var<workgroup> keys: array<array<array<vec4<f32>, max(D4, 1u)>, 4>, FOURS>;
var<workgroup> values: array<array<array<vec4<f32>, max(C4, 1u)>, 4>, FOURS>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows = p.S * (p.H / p.G);
    let blocks = (rows + ROWS * LANES - 1u) / (ROWS * LANES);
    var id = wg.y * wgs.x + wg.x;
    let row0 = id % blocks * ROWS * LANES;
    id /= blocks;
    let g = id % p.G;
    let b = id / p.G;
    if b >= p.B {
        return;
    }
    let length = kv_length(b);
    let row1 = min(row0 + ROWS * LANES, rows) - 1u;
    let queries = queries_of(row0, row1);
    let range = seen_by(queries, length, 4u);

    var kept: array<vec4<f32>, ROWS * max(D4, 1u)>;
    var sh: array<vec2<u32>, ROWS>;
    var top: array<f32, ROWS>;
    var mass: array<f32, ROWS>;
    var acc: array<vec4<f32>, ROWS * max(C4, 1u)>;
    //@unroll r 0..ROWS
    for (var r = 0u; r < ROWS; r++) {
        sh[r] = row_of(row0 + r * LANES + lane, g);
        top[r] = HIDDEN;
        //@unroll d4 0..D4
        for (var d4 = 0u; d4 < D4; d4++) {
            kept[r * D4 + d4] = query4(b, sh[r], d4);
        }
    }
    for (var t0 = range.x; t0 < range.y; t0 += FOURS * 4u) {
        workgroupBarrier(); // the tile before was read
        fetch(b, g, t0, range.y, lane);
        workgroupBarrier(); // this one is there
        for (var i = 0u; i < FOURS && t0 + i * 4u < range.y; i++) {
            let t = t0 + i * 4u;
            let whole = all_see(queries, t, length);
            var e = array<vec4<f32>, ROWS>();
            //@unroll d4 0..D4
            for (var d4 = 0u; d4 < D4; d4++) {
                let k0 = keys[i][0][d4];
                let k1 = keys[i][1][d4];
                let k2 = keys[i][2][d4];
                let k3 = keys[i][3][d4];
                //@unroll r 0..ROWS
                for (var r = 0u; r < ROWS; r++) {
                    let q4 = kept[r * D4 + d4];
                    //@unroll c 0..4
                    for (var c = 0u; c < 4u; c++) {
                        e[r] = fma(vec4<f32>(q4[c]), vec4<f32>(k0[c], k1[c], k2[c], k3[c]), e[r]);
                    }
                }
            }
            //@unroll r 0..ROWS
            for (var r = 0u; r < ROWS; r++) {
                //@unroll j 0..4
                for (var j = 0u; j < 4u; j++) {
                    e[r][j] = score_of(e[r][j], b, sh[r], t + j, length);
                }
                if !whole {
                    //@unroll j 0..4
                    for (var j = 0u; j < 4u; j++) {
                        e[r][j] = select(HIDDEN, e[r][j], sees(sh[r].x, t + j, length));
                    }
                }
                let largest = max(top[r], max(max(e[r].x, e[r].y), max(e[r].z, e[r].w)));
                let shrink = relative_weight(top[r], largest);
                top[r] = largest;
                //@unroll j 0..4
                for (var j = 0u; j < 4u; j++) {
                    e[r][j] = relative_weight(e[r][j], largest);
                }
                mass[r] = mass[r] * shrink + ((e[r].x + e[r].y) + (e[r].z + e[r].w));
                if shrink != 1.0 { // rare, once the largest scores have come
                    //@unroll c4 0..C4
                    for (var c4 = 0u; c4 < C4; c4++) {
                        acc[r * C4 + c4] *= shrink;
                    }
                }
            }
            if MASKED || whole {
                //@unroll c4 0..C4
                for (var c4 = 0u; c4 < C4; c4++) {
                    //@unroll j 0..4
                    for (var j = 0u; j < 4u; j++) {
                        let value = values[i][j][c4];
                        //@unroll r 0..ROWS
                        for (var r = 0u; r < ROWS; r++) {
                            acc[r * C4 + c4] = weighed(e[r][j], value, acc[r * C4 + c4], MASKED);
                        }
                    }
                }
            } else {
                for (var j = 0u; j < 4u; j++) { // few blocks come here, and a text of a quarter compiles sooner
                    //@unroll c4 0..C4
                    for (var c4 = 0u; c4 < C4; c4++) {
                        let value = values[i][j][c4];
                        //@unroll r 0..ROWS
                        for (var r = 0u; r < ROWS; r++) {
                            acc[r * C4 + c4] = weighed(e[r][j], value, acc[r * C4 + c4], true);
                        }
                    }
                }
            }
        }
    }
    //@unroll r 0..ROWS
    for (var r = 0u; r < ROWS; r++) {
        let all = with_sink(sh[r].y, top[r], mass[r]);
        if row0 + r * LANES + lane < rows {
            let at = p.o_offset + b * p.o_B + sh[r].x * p.o_S + sh[r].y * p.o_H;
            write_lse(b, sh[r].y, sh[r].x, all.y, all.z);
            //@unroll c4 0..C4
            for (var c4 = 0u; c4 < C4; c4++) {
                store4_o(at + c4, acc[r * C4 + c4] * all.x);
            }
        }
    }
}

// Has keys and values from t0 on, as many as are seen and a tile holds, in workgroup memory; behind the last, that
// again, which weighs nothing.
fn fetch(b: u32, g: u32, t0: u32, end: u32, lane: u32) {
    let count = min(FOURS * 4u, (end - t0 + 3u) / 4u * 4u);
    for (var i = lane; i < count * D4; i += LANES) {
        let j = i / max(D4, 1u);
        let d4 = i % max(D4, 1u);
        let at = k_row(b, min(t0 + j, end - 1u)) + g * p.k_G;
        var scale = 1.0;
        //@if k_scaled
        scale = scale_k(at, d4 / 8u);
        keys[j / 4u][j % 4u][d4] = whole4(four_k(at, d4, scale), d4);
    }
    for (var i = lane; i < count * C4; i += LANES) {
        let j = i / max(C4, 1u);
        let c4 = i % max(C4, 1u);
        let at = v_row(b, min(t0 + j, end - 1u)) + g * p.v_G;
        var scale = 1.0;
        //@if v_scaled
        scale = scale_v(at, c4 / 8u);
        values[j / 4u][j % 4u][c4] = four_v(at, c4, scale);
    }
}

// Whether all queries s.x to s.y see the four keys from t on, whatever a mask says.
fn all_see(s: vec2<u32>, t: u32, length: u32) -> bool {
    return sees(s.x, t + 3u, length) && sees(s.y, t, length);
}

// What a key adds to a row's sums. A value that is no number is nothing to who does not see it, and may be hidden.
fn weighed(e: f32, value: vec4<f32>, sums: vec4<f32>, hides: bool) -> vec4<f32> {
    let sum = fma(vec4<f32>(e), value, sums);
    return select(sum, sums, hides && e == 0.0);
}

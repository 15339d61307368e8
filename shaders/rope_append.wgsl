// rope_append    q_out = rope(q); rows of rope(k) and of v go to their caches, as rope.wgsl and append.wgsl have
//                it, where the token stands that the rotation is of: start(b) + s
//
//   q        [B, S, H, D]  f32 f16  in
//   k        [B, S, G, D]  f32 f16  in
//   v        [B, S, G, C]  f32 f16  in
//   turns    [K, 3]        u32      in   see rope.wgsl
//   starts   [B]           u32      in, may be left out: start(b) is p.start then
//   pages    [B, N]        u32      in, may be left out; with it start(b) is pages[b, 0] + p.start
//   q_out    [B, S, H, D]  f32 f16  out
//   k_cache  [B, T, G, D]  f32 f16  changed; with pages [V, T, G, D]; as u8 rows of src/formats/cache.rs
//   v_cache  [B, T, G, C]  f32 f16  changed; likewise
//
// A team of LANES invocations has a row, a head of q, k or v of a token; each owns every so many-th unit of
// lib/pairs.wgsl in it, or four of its elements.

alias q_group = vec4<f32>; // knob: four elements of q
alias k_group = vec4<f32>; // knob: four elements of k
alias v_group = vec4<f32>; // knob: four elements of v
alias q_out_group = vec4<f32>; // knob: four elements of q_out
alias k_cache_group = vec4<f32>; // knob: four elements of k_cache
alias v_cache_group = vec4<f32>; // knob: four elements of v_cache
const PAIRS: u32 = 1u; // knob: 0 halves that are whole groups, 1 halves, 2 neighbours
const RING: bool = false; // knob: whether rows past the end go to the beginning
const LANES: u32 = 4u; // knob: invocations of a team, a power of two
const TEAMS: u32 = 16u; // knob: teams of a workgroup

struct Params {
    B: u32, S: u32, H: u32, D: u32, K: u32, T: u32, G: u32, C: u32, N: u32, V: u32,
    start: u32, scale: f32,
    q_offset: u32, q_B: u32, q_S: u32, q_H: u32,
    k_offset: u32, k_B: u32, k_S: u32, k_G: u32,
    v_offset: u32, v_B: u32, v_S: u32, v_G: u32,
    turns_offset: u32, starts_offset: u32, pages_offset: u32,
    q_out_offset: u32, q_out_B: u32, q_out_S: u32, q_out_H: u32,
    k_cache_offset: u32, k_cache_B: u32, k_cache_T: u32, k_cache_G: u32,
    v_cache_offset: u32, v_cache_B: u32, v_cache_T: u32, v_cache_G: u32,
}

@group(0) @binding(0) var<storage, read> q: array<q_group>;
@group(0) @binding(1) var<storage, read> k: array<k_group>;
@group(0) @binding(2) var<storage, read> v: array<v_group>;
@group(0) @binding(3) var<storage, read> turns: array<u32>;
@group(0) @binding(4) var<storage, read_write> q_out: array<q_out_group>;
@group(0) @binding(5) var<storage, read_write> k_cache: array<k_cache_group>;
@group(0) @binding(6) var<storage, read_write> v_cache: array<v_cache_group>;
@group(1) @binding(0) var<uniform> p: Params;

struct Row {
    token: u32,
    is_q: bool,
    x_at: u32,
    y_at: u32,
}

fn take4(row: Row, c4: u32) -> vec4<f32> {
    var x: vec4<f32>;
    if row.is_q {
        x = load4_q(row.x_at + c4);
    } else {
        x = load4_k(row.x_at + c4);
    }
    return x;
}

fn give4(row: Row, c4: u32, x: vec4<f32>) {
    if row.is_q {
        store4_q_out(row.y_at + c4, x);
    } else {
        keep4(false, row.y_at + c4, x);
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (wg.y * wgs.x + wg.x) * TEAMS + lane / LANES;
    let heads = p.H + 2u * p.G;
    let token = row / heads;
    let b = token / p.S;
    let s = token % p.S;
    let head = row % heads;
    let is_q = head < p.H;
    let is_v = head >= p.H + p.G;
    let g = head - select(select(p.H, p.H + p.G, is_v), 0u, is_q);
    let place = row_place(min(b, p.B - 1u), s);
    let kept = b < p.B && !is_q && place.z == 1u;
    let at = cache_at(is_v, place, g);
    let base = kept_from(at, lane);
    if is_v && kept {
        for (var c4 = lane % LANES; c4 < (p.C + 3u) / 4u; c4 += LANES) {
            keep4(true, base + c4, load4_v(p.v_offset + b * p.v_B + s * p.v_S + g * p.v_G + c4));
        }
    }
    if b < p.B && (is_q || (kept && !is_v)) {
        let q_at = p.q_offset + b * p.q_B + s * p.q_S + g * p.q_H;
        let k_at = p.k_offset + b * p.k_B + s * p.k_S + g * p.k_G;
        let q_to = p.q_out_offset + b * p.q_out_B + s * p.q_out_S + g * p.q_out_H;
        let turned = Row(token, is_q, select(k_at, q_at, is_q), select(base, q_to, is_q));
        for (var unit = lane % LANES; unit < units_of_row(); unit += LANES) {
            turn_unit(turned, unit);
        }
    }
    end_row(is_v, at, kept, lane);
}

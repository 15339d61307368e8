// append    k_cache[b, at(b, s), g, :] = k[b, s, g, :], and v_cache likewise v; all else stays
//           at(b, s) = start(b) + s, in a ring modulo T
//
//   k        [B, S, G, D]  f32 f16  in
//   v        [B, S, G, C]  f32 f16  in, may be left out, with v_cache
//   starts   [B]           u32      in, may be left out: start(b) is p.start then
//   k_cache  [B, T, G, D]  f32 f16  changed
//   v_cache  [B, T, G, C]  f32 f16  changed
//
// An invocation owns four elements of a row of k, or of v. What would lie past the end is not written; in a ring
// only the last T rows are, so that no element has two writers.

alias k_group = vec4<f32>; // knob: four elements of k
alias k_cache_group = vec4<f32>; // knob: four elements of k_cache
const RING: bool = false; // knob: whether rows past the end go to the beginning

struct Params {
    B: u32, S: u32, T: u32, G: u32, D: u32, C: u32,
    start: u32,
    k_offset: u32, k_B: u32, k_S: u32, k_G: u32,
    v_offset: u32, v_B: u32, v_S: u32, v_G: u32,
    starts_offset: u32,
    k_cache_offset: u32, k_cache_B: u32, k_cache_T: u32, k_cache_G: u32,
    v_cache_offset: u32, v_cache_B: u32, v_cache_T: u32, v_cache_G: u32,
}

@group(0) @binding(0) var<storage, read> k: array<k_group>;
@group(0) @binding(1) var<storage, read_write> k_cache: array<k_cache_group>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let k_groups = (p.D + 3u) / 4u;
    let groups = k_groups + v_groups();
    let i = (wg.y * wgs.x + wg.x) * 64u + lane;
    let row = i / max(groups, 1u);
    let c4 = i % max(groups, 1u);
    let b = row / (p.S * p.G);
    if groups == 0u || b >= p.B {
        return;
    }
    let s = row / p.G % p.S;
    let g = row % p.G;
    var t = first_row(b) + s;
    if RING {
        if s + p.T < p.S {
            return; // a later row lies here
        }
        t %= max(p.T, 1u);
    }
    // past the end, also where the sum has wrapped around
    if t >= p.T || (t < s && !RING) {
        return;
    }
    if c4 < k_groups {
        let v4 = load4_k(p.k_offset + b * p.k_B + s * p.k_S + g * p.k_G + c4);
        store4_k_cache(p.k_cache_offset + b * p.k_cache_B + t * p.k_cache_T + g * p.k_cache_G + c4, v4);
    } else {
        append_v(b, s, t, g, c4 - k_groups);
    }
}

// append    k_cache[b, at(b, s), g, :] = k[b, s, g, :], and v_cache likewise v; all else stays
//           at(b, s) = start(b) + s, in a ring modulo T; with pages, row at % T of page pages[b, 1 + at / T]
//
//   k        [B, S, G, D]  f32 f16  in
//   v        [B, S, G, C]  f32 f16  in, may be left out, with v_cache
//   starts   [B]           u32      in, may be left out: start(b) is p.start then
//   pages    [B, N]        u32      in, may be left out; with it start(b) is pages[b, 0] + p.start
//   k_cache  [B, T, G, D]  f32 f16  changed; with pages [V, T, G, D]; as u8 rows of src/formats/cache.rs
//   v_cache  [B, T, G, C]  f32 f16  changed; likewise
//
// A team of LANES invocations has a row, of k or of v; each owns every so many-th four of its elements, and of the
// words that they become.

alias k_group = vec4<f32>; // knob: four elements of k
alias k_cache_group = vec4<f32>; // knob: four elements of k_cache
const RING: bool = false; // knob: whether rows past the end go to the beginning
const LANES: u32 = 4u; // knob: invocations of a team, a power of two
const TEAMS: u32 = 16u; // knob: teams of a workgroup

struct Params {
    B: u32, S: u32, T: u32, G: u32, D: u32, C: u32, N: u32, V: u32,
    start: u32,
    k_offset: u32, k_B: u32, k_S: u32, k_G: u32,
    v_offset: u32, v_B: u32, v_S: u32, v_G: u32,
    starts_offset: u32, pages_offset: u32,
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
    let row = (wg.y * wgs.x + wg.x) * TEAMS + lane / LANES;
    let heads = p.G + v_heads();
    let b = row / heads / p.S;
    let s = row / heads % p.S;
    let is_v = row % heads >= p.G;
    let g = row % p.G;
    let place = row_place(min(b, p.B - 1u), s);
    let kept = b < p.B && place.z == 1u;
    let at = cache_at(is_v, place, g);
    let base = kept_from(at, lane);
    let groups = select(0u, (select(p.D, p.C, is_v) + 3u) / 4u, kept);
    for (var c4 = lane % LANES; c4 < groups; c4 += LANES) {
        var x: vec4<f32>;
        if is_v {
            x = v4_at(b, s, g, c4);
        } else {
            x = load4_k(p.k_offset + b * p.k_B + s * p.k_S + g * p.k_G + c4);
        }
        keep4(is_v, base + c4, x);
    }
    end_row(is_v, at, kept, lane);
}

// attention.split, last part    o[b, s, h, :] = Σ_i exp(m_i - m) acc_i / Σ_i exp(m_i - m) sum_i,
//                               (acc_i, m_i, sum_i) = part[row, i],  m = max_i m_i
//
//   sinks  [H]           f32      in, may be left out
//   part   [B · H · S, SHARES, C + 4]  f32  in   what the dispatch before left of each share of the keys
//   o      [B, S, H, C]  f32 f16  out
//   lse    [B, H, S]     f32      out, if asked for
//
// An invocation owns four elements of o. A share whose keys nobody sees counts for nothing.

alias o_group = vec4<f32>; // knob: four elements of o
const KEYS: u32 = 256u; // keys of a share
const HIDDEN: f32 = -1.7014118e38;

struct Params {
    B: u32, S: u32, T: u32, H: u32, C: u32,
    sinks_offset: u32,
    part_row: u32,
    lse_offset: u32, lse_B: u32, lse_H: u32,
    o_offset: u32, o_B: u32, o_S: u32, o_H: u32,
}

@group(0) @binding(0) var<storage, read> part: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> o: array<o_group>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let groups = (p.C + 3u) / 4u;
    let i = (wg.y * wgs.x + wg.x) * 64u + lane;
    let row = i / max(groups, 1u);
    let c4 = i % max(groups, 1u);
    let b = row / (p.H * p.S);
    if b >= p.B {
        return;
    }
    let h = row / p.S % p.H;
    let s = row % p.S;
    let shares = (p.T + KEYS - 1u) / KEYS;
    let base = row * shares * p.part_row;
    var largest = HIDDEN;
    for (var share = 0u; share < shares; share++) {
        largest = max(largest, part[base + share * p.part_row + groups].x);
    }
    var sum = 0.0;
    var acc = vec4<f32>(0.0);
    for (var share = 0u; share < shares; share++) {
        let at = base + share * p.part_row;
        let of_share = part[at + groups];
        let weight = relative_weight(of_share.x, largest);
        // Of scores that are no numbers none is the largest, but their sum says so.
        let is_number = (bitcast<u32>(of_share.y) & 0x7fffffffu) <= 0x7f800000u;
        if weight != 0.0 || !is_number {
            sum += weight * of_share.y;
            acc += weight * part[at + c4]; // of no columns, what stands behind them, and is not stored
        }
    }
    let all = with_sink(h, largest, sum);
    if c4 == 0u {
        write_lse(b, h, s, all.y, all.z);
    }
    if c4 < groups {
        store4_o(p.o_offset + b * p.o_B + s * p.o_S + h * p.o_H + c4, acc * all.x);
    }
}

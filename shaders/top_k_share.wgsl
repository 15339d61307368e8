// top_k.split, first part    part[r, s] = the keys of the first K of share s of a row of x, then their places
//
//   x     [R, C]             f32 f16  in
//   part  [R, SPLITS, 2, K]  u32      out  the key 0 where a share has not so many
//
// Where rows are few and long, several workgroups do one: each selects of its share of whole groups of four what
// may be among the first of the row.

alias x_group = vec4<f32>; // knob: four elements of x
const SMALLEST: bool = false; // knob: whether the smallest come first
const SPLITS: u32 = 4u; // knob: shares of a row
const SLOTS: u32 = 2u; // knob: K, or the power of two above
const BLOCK: u32 = 256u; // knob: invocations in a workgroup

struct Params {
    R: u32, C: u32, K: u32,
    x_offset: u32, x_R: u32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> part: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let share = wg.y * wgs.x + wg.x;
    if share >= p.R * SPLITS {
        return;
    }
    begin_row(share / SPLITS);
    let groups = (p.C + 3u) / 4u;
    let each = (groups + SPLITS - 1u) / SPLITS;
    let begin = min(share % SPLITS * each, groups);
    let end = min(begin + each, groups);
    let there = min(end * 4u, p.C) - min(begin * 4u, p.C);
    select_first(min(p.K, there), p.K >= there, begin, end, lane);
    for (var k = lane; k < p.K; k += BLOCK) {
        part[share * 2u * p.K + k] = best_keys[k];
        part[share * 2u * p.K + p.K + k] = best_places[k];
    }
}

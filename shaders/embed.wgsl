// embed    y[r, c] = post(Σ_i table_i[idx_i[r], c]), one to three tables
//
//   idx_i    [R]       u32      in
//   table_i  [V_i, C]  f32 f16 bf16, or one of blocks  in
//   y        [R, C]    f32 f16  out
//
// LANES neighbours walk along a part of a row, whose indices are the same for all of them. The tables and
// `rows4` are linked in, by their number. A table may be a part of one that no binding holds: rows from
// `table_first` on of `table_whole` rows. Then each row of y is written by the dispatch whose parts have it.

alias y_group = vec4<f32>; // knob: four elements of y
const FLAT: bool = true; // knob: whether an invocation does one group of four, wherever that is
const PART: bool = false; // knob: whether a table is some rows of one that no binding holds
const LANES: u32 = 64u; // knob: invocations in a workgroup, which share a part of a row
const PARTS: u32 = 1u; // knob: parts of a row, a workgroup each
const EACH: u32 = 0u; // knob: groups of a part for each invocation that are there in any case
const REST: u32 = 1u; // knob: and those that may be

struct Params {
    R: u32, C: u32,
    idx0_offset: u32, table0_offset: u32, table0_V: u32, V0: u32, table0_first: u32, table0_whole: u32,
    idx1_offset: u32, table1_offset: u32, table1_V: u32, V1: u32, table1_first: u32, table1_whole: u32,
    idx2_offset: u32, table2_offset: u32, table2_V: u32, V2: u32, table2_first: u32, table2_whole: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

// Whether a table has the row of an index. Of a part of a table, rows of other parts are theirs to write, and
// what is past the end is the last part's.
fn has(index: u32, first: u32, rows: u32, whole: u32) -> bool {
    return whole == 0u || min(index, whole - 1u) - first < rows;
}

fn write4(r: u32, c4: u32) {
    if PART && !owns(r) {
        return;
    }
    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(rows4(r, c4), r, c4));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = wg.y * wgs.x + wg.x;
    let groups = (p.C + 3u) / 4u;
    if FLAT {
        let i = at * LANES + lane;
        if i < p.R * groups {
            write4(i / groups, i % groups);
        }
        return;
    }
    let r = at / PARTS;
    let begin = at % PARTS * (LANES * (EACH + REST)) + lane;
    if r < p.R {
        // No loops, no masks: where they are emulated, they cost as much as loads.
        //@unroll i 0..EACH
        for (var i = 0u; i < EACH; i++) {
            write4(r, begin + i * LANES);
        }
        //@unroll i 0..REST
        for (var i = 0u; i < REST; i++) {
            if begin + (EACH + i) * LANES < groups {
                write4(r, begin + (EACH + i) * LANES);
            }
        }
    }
}

// embed    y[r, c] = post(Σ_i table_i[idx_i[r], c]), one to three tables
//
//   idx_i    [R]       u32      in
//   table_i  [V_i, C]  f32 f16  in
//   y        [R, C]    f32 f16  out
//
// LANES neighbours walk along a part of a row, whose indices are the same for all of them. The tables and
// `rows4` are linked in, by their number.

alias y_group = vec4<f32>; // knob: four elements of y
const FLAT: bool = true; // knob: whether an invocation does one group of four, wherever that is
const PARTS: u32 = 1u; // knob: parts of a row, a workgroup each
const LANES: u32 = 64u; // knob: invocations that share a part of a row, a power of two
const TEAMS: u32 = 1u; // knob: rows side by side in a workgroup
const TURNS: u32 = 1u; // knob: rows that the same invocations do one after the other
const SPAN: u32 = 1u; // knob: groups of four of a part for each of its invocations, at most
const EACH: u32 = 0u; // knob: and at least, whatever the part

struct Params {
    R: u32, C: u32,
    idx0_offset: u32, table0_offset: u32, table0_V: u32, V0: u32,
    idx1_offset: u32, table1_offset: u32, table1_V: u32, V1: u32,
    idx2_offset: u32, table2_offset: u32, table2_V: u32, V2: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

fn write4(r: u32, c4: u32) {
    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(rows4(r, c4), r, c4));
}

@compute @workgroup_size(LANES, TEAMS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = wg.y * wgs.x + wg.x;
    let groups = (p.C + 3u) / 4u;
    if FLAT {
        let i = at * LANES + index;
        if i < p.R * groups {
            write4(i / groups, i % groups);
        }
        return;
    }
    let begin = at % PARTS * (LANES * SPAN) + index % LANES;
    let end = min(groups, (at % PARTS + 1u) * (LANES * SPAN));
    let first = at / PARTS * (TEAMS * TURNS);
    let is_full = first + TEAMS * TURNS <= p.R;
    //@unroll turn 0..TURNS
    for (var turn = 0u; turn < TURNS; turn++) {
        let r = first + turn * TEAMS + index / LANES;
        var c4 = begin;
        // What is there in any case needs no masks, nor a loop, in which some devices mask everything.
        if is_full {
            //@unroll i 0..EACH
            for (var i = 0u; i < EACH; i++) {
                write4(r, begin + i * LANES);
            }
            c4 += EACH * LANES;
        }
        if r < p.R {
            for (; c4 < end; c4 += LANES) {
                write4(r, c4);
            }
        }
    }
}

// where    y[r, c] = post(cond[r, c] ≠ 0 ? a[r, c] : b[r, c])
//
//   cond  [R, C]  f32 f16 i8 u8  in
//   a     [R, C]  f32 f16        in
//   b     [R, C]  f32 f16 i8 u8  in
//   y     [R, C]  f32 f16        out
//
// LANES neighbours walk along a part of a row, or each does one group. What is broadcast over rows has the
// row stride 0.

alias cond_group = vec4<f32>; // knob: four elements of cond
alias a_group = vec4<f32>; // knob: four elements of a
alias b_group = vec4<f32>; // knob: four elements of b
alias y_group = vec4<f32>; // knob: four elements of y
const FLAT: bool = true; // knob: whether an invocation does one group of four, wherever that is
const LANES: u32 = 64u; // knob: invocations in a workgroup, which share a part of a row
const PARTS: u32 = 1u; // knob: parts of a row, a workgroup each
const EACH: u32 = 0u; // knob: groups of a part for each invocation that are there in any case
const REST: u32 = 1u; // knob: and those that may be

struct Params {
    R: u32, C: u32,
    cond_offset: u32, cond_R: u32,
    a_offset: u32, a_R: u32,
    b_offset: u32, b_R: u32,
    y_offset: u32, y_R: u32,
}

@group(0) @binding(0) var<storage, read> cond: array<cond_group>;
@group(0) @binding(1) var<storage, read> a: array<a_group>;
@group(0) @binding(2) var<storage, read> b: array<b_group>;
@group(0) @binding(3) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

fn write4(r: u32, c4: u32) {
    let holds = load4_cond(p.cond_offset + r * p.cond_R + c4) != vec4<f32>(0.0);
    let yes = load4_a(p.a_offset + r * p.a_R + c4);
    let no = load4_b(p.b_offset + r * p.b_R + c4);
    store4_y(p.y_offset + r * p.y_R + c4, apply4_post(select(no, yes, holds), r, c4));
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

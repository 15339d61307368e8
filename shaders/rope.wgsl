// rope    y[b, s, h, i] = post(m·(x[b, s, h, i]·cos θ - x[b, s, h, j]·sin θ)),
//         y[b, s, h, j] = post(m·(x[b, s, h, j]·cos θ + x[b, s, h, i]·sin θ)),  θ = 2π·position·turns[k]
//         for the pairs k < K of elements: (i, j) is (k, k + K) or, of neighbours, (2k, 2k + 1); others are copied
//
//   x          [B, S, H, D]  f32 f16  in
//   turns      [K, 3]        u32      in   of a pair: the turn from one position to the next, as lib/rotation.wgsl
//                                          has it, lower word first; and the row of positions that it follows
//   positions  [N, B, S]     u32      in   may be left out: then start + s
//   y          [B, S, H, D]  f32 f16  out
//
// An invocation owns a unit of lib/pairs.wgsl: four pairs.

alias x_group = vec4<f32>; // knob: four elements of x
alias y_group = vec4<f32>; // knob: four elements of y
const PAIRS: u32 = 1u; // knob: 0 halves that are whole groups, 1 halves, 2 neighbours
const BLOCK: u32 = 64u; // knob: invocations in a workgroup

struct Params {
    B: u32, S: u32, H: u32, D: u32, K: u32, N: u32,
    x_offset: u32, x_B: u32, x_S: u32, x_H: u32,
    turns_offset: u32, positions_offset: u32,
    y_offset: u32, y_B: u32, y_S: u32, y_H: u32,
    start: u32, scale: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read> turns: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<y_group>;
@group(1) @binding(0) var<uniform> p: Params;

struct Row {
    token: u32,
    index: u32,
    x_at: u32,
    y_at: u32,
}

fn take4(row: Row, c4: u32) -> vec4<f32> {
    return load4_x(row.x_at + c4);
}

fn give4(row: Row, c4: u32, v: vec4<f32>) {
    store4_y(row.y_at + c4, apply4_post(v, row.index, c4));
}

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let units = units_of_row();
    let at = (wg.y * wgs.x + wg.x) * BLOCK + lane;
    if at >= p.B * p.S * p.H * units {
        return;
    }
    let index = at / units;
    let h = index % p.H;
    let token = index / p.H;
    let s = token % p.S;
    let x_at = p.x_offset + token / p.S * p.x_B + s * p.x_S + h * p.x_H;
    let y_at = p.y_offset + token / p.S * p.y_B + s * p.y_S + h * p.y_H;
    turn_unit(Row(token, index, x_at, y_at), at % units);
}

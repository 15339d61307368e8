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
// An invocation owns four pairs: of halves two groups of four that lie K apart, and where K is no multiple of
// four, a group whose partners it picks one by one; of neighbours two groups side by side.

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

// m·cos and m·sin of four pairs of a token; past the last pair, of that one.
fn rotation_of(token: u32, pair: vec4<u32>) -> Rotation {
    var position: vec4<u32>;
    var low: vec4<u32>;
    var high: vec4<u32>;
    //@unroll i 0..4
    for (var i = 0u; i < 4u; i++) {
        let at = p.turns_offset + min(pair[i], p.K - 1u) * 3u;
        low[i] = turns[at];
        high[i] = turns[at + 1u];
        position[i] = position_of(turns[at + 2u], token);
    }
    let turned = rotation4(position, low, high);
    return Rotation(turned.cosine * p.scale, turned.sine * p.scale);
}

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let groups = (p.D + 3u) / 4u;
    let quarter = p.K / 4u;
    var units = groups;
    if PAIRS == 0u {
        units = groups - quarter;
    }
    if PAIRS == 2u {
        units = (groups + 1u) / 2u;
    }
    let at = (wg.y * wgs.x + wg.x) * BLOCK + lane;
    if at >= p.B * p.S * p.H * units {
        return;
    }
    let unit = at % units;
    let row = at / units;
    let h = row % p.H;
    let token = row / p.H;
    let s = token % p.S;
    let x_at = p.x_offset + token / p.S * p.x_B + s * p.x_S + h * p.x_H;
    let y_at = p.y_offset + token / p.S * p.y_B + s * p.y_S + h * p.y_H;
    let lanes = vec4<u32>(0u, 1u, 2u, 3u) + unit * 4u;
    if PAIRS == 0u {
        let other = load4_x(x_at + unit + quarter);
        if unit >= quarter {
            store4_y(y_at + unit + quarter, apply4_post(other, row, unit + quarter));
            return;
        }
        let own = load4_x(x_at + unit);
        let turned = rotation_of(token, lanes);
        let first = own * turned.cosine - other * turned.sine;
        let second = other * turned.cosine + own * turned.sine;
        store4_y(y_at + unit, apply4_post(first, row, unit));
        store4_y(y_at + unit + quarter, apply4_post(second, row, unit + quarter));
    }
    if PAIRS == 1u {
        let own = load4_x(x_at + unit);
        var out = own;
        if unit * 4u < 2u * p.K {
            let is_first = lanes < vec4<u32>(p.K);
            let place = select(lanes - p.K, lanes + p.K, is_first);
            var other: vec4<f32>;
            //@unroll i 0..4
            for (var i = 0u; i < 4u; i++) {
                other[i] = load4_x(x_at + min(place[i] / 4u, groups - 1u))[place[i] & 3u];
            }
            let turned = rotation_of(token, select(place, lanes, is_first));
            let sine = select(turned.sine, -turned.sine, is_first);
            out = select(own, own * turned.cosine + other * sine, lanes < vec4<u32>(2u * p.K));
        }
        store4_y(y_at + unit, apply4_post(out, row, unit));
    }
    if PAIRS == 2u {
        let last = min(2u * unit + 1u, groups - 1u);
        var a = load4_x(x_at + 2u * unit);
        var b = load4_x(x_at + last);
        if unit * 4u < p.K {
            let turned = rotation_of(token, lanes);
            let live = lanes < vec4<u32>(p.K);
            let first = vec4<f32>(a.xz, b.xz);
            let second = vec4<f32>(a.yw, b.yw);
            let c = select(first, first * turned.cosine - second * turned.sine, live);
            let d = select(second, second * turned.cosine + first * turned.sine, live);
            a = vec4<f32>(c.x, d.x, c.y, d.y);
            b = vec4<f32>(c.z, d.z, c.w, d.w);
        }
        store4_y(y_at + 2u * unit, apply4_post(a, row, 2u * unit));
        if 2u * unit + 1u < groups {
            store4_y(y_at + last, apply4_post(b, row, last));
        }
    }
}

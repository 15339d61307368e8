// merge    o = (w1 o1 + w2 o2) / (w1 + w2),  lse = top + log(w1 + w2),
//          wi = exp(lsei - top),  top = max(lse1, lse2);  of two that are -inf, o = 0 and lse = -inf
//
//   o1    [B, S, H, C]  f32 f16  in
//   lse1  [B, H, S]     f32      in
//   o2    [B, S, H, C]  f32 f16  in
//   lse2  [B, H, S]     f32      in
//   o     [B, S, H, C]  f32 f16  out
//   lse   [B, H, S]     f32      out
//
// An invocation owns four elements of o, the one with the first of a row also its lse. -inf is known by its bits,
// and what weighs nothing is left out, so that it may be anything.

alias o1_group = vec4<f32>; // knob: four elements of o1
alias o2_group = vec4<f32>; // knob: four elements of o2
alias o_group = vec4<f32>; // knob: four elements of o
const NOTHING: u32 = 0xff800000u; // the bits of -inf

struct Params {
    B: u32, S: u32, H: u32, C: u32,
    o1_offset: u32, o1_B: u32, o1_S: u32, o1_H: u32,
    lse1_offset: u32, lse1_B: u32, lse1_H: u32,
    o2_offset: u32, o2_B: u32, o2_S: u32, o2_H: u32,
    lse2_offset: u32, lse2_B: u32, lse2_H: u32,
    o_offset: u32, o_B: u32, o_S: u32, o_H: u32,
    lse_offset: u32, lse_B: u32, lse_H: u32,
}

@group(0) @binding(0) var<storage, read> o1: array<o1_group>;
@group(0) @binding(1) var<storage, read> lse1: array<u32>;
@group(0) @binding(2) var<storage, read> o2: array<o2_group>;
@group(0) @binding(3) var<storage, read> lse2: array<u32>;
@group(0) @binding(4) var<storage, read_write> o: array<o_group>;
@group(0) @binding(5) var<storage, read_write> lse: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

// exp(x), 0 where that is about f32's least normal number. What is no number stays so, where a device lets it.
fn weight_of(x: f32, is_there: bool) -> f32 {
    let is_number = (bitcast<u32>(x) & 0x7fffffffu) <= 0x7f800000u;
    return select(select(x, exp(max(x, -87.0)), is_number), 0.0, !is_there || x <= -87.0);
}

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
    let b = row / (p.S * p.H);
    if b >= p.B {
        return;
    }
    let s = row / p.H % p.S;
    let h = row % p.H;

    let bits1 = lse1[(p.lse1_offset + b * p.lse1_B + h * p.lse1_H) * 4u + s];
    let bits2 = lse2[(p.lse2_offset + b * p.lse2_B + h * p.lse2_H) * 4u + s];
    let is1 = bits1 != NOTHING;
    let is2 = bits2 != NOTHING;
    let x1 = bitcast<f32>(select(0u, bits1, is1));
    let x2 = bitcast<f32>(select(0u, bits2, is2));
    let top = select(select(x2, x1, is1), max(x1, x2), is1 && is2);
    let w1 = weight_of(x1 - top, is1);
    let w2 = weight_of(x2 - top, is2);
    let sum = w1 + w2;
    if c4 == 0u {
        // The larger weighs 1, so only an empty sum is less.
        // A driver's log may make a number of what is none.
        let of_sum = bitcast<u32>(sum);
        let some = bitcast<u32>(top + log(max(sum, 0.5)));
        let bits = select(some, of_sum, (of_sum & 0x7fffffffu) > 0x7f800000u);
        lse[(p.lse_offset + b * p.lse_B + h * p.lse_H) * 4u + s] = select(NOTHING, bits, is1 || is2);
    }
    if c4 < groups {
        let v1 = load4_o1(p.o1_offset + b * p.o1_B + s * p.o1_S + h * p.o1_H + c4);
        let v2 = load4_o2(p.o2_offset + b * p.o2_B + s * p.o2_S + h * p.o2_H + c4);
        let both = select(w1 * v1, vec4<f32>(0.0), w1 == 0.0) + select(w2 * v2, vec4<f32>(0.0), w2 == 0.0);
        // By the inverse, so that 0 stays 0: a quotient may be off by units of the least number.
        store4_o(p.o_offset + b * p.o_B + s * p.o_S + h * p.o_H + c4, both * (1.0 / select(sum, 0.5, sum < 0.5)));
    }
}

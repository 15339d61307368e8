// Scores with what the mask adds to them; -inf, known by its bits, hides a key. Whatever else is added,
// a score that is seen stays above what hidden ones are.

@group(0) @binding(0) var<storage, read> mask: array<mask_group>;
alias mask_group = vec4<f32>; // knob: four elements of mask

fn masked(score: f32, b: u32, h: u32, s: u32, t: u32) -> f32 {
    let row = p.mask_offset + b * p.mask_B + h * p.mask_H + s * p.mask_S;
    let added = load4_mask(row + t / 4u)[t % 4u];
    let sum = score + select(added, LOWEST, added < LOWEST); // what is no number stays so
    return select(select(sum, LOWEST, sum < LOWEST), HIDDEN, bitcast<u32>(added) == 0xff800000u);
}

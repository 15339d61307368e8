// Scores that no longer leave ±softcap: softcap·tanh(score / softcap).

fn capped(scores: vec4<f32>) -> vec4<f32> {
    let is_number = (bitcast<vec4<u32>>(scores) & vec4<u32>(0x7fffffffu)) <= vec4<u32>(0x7f800000u);
    return select(scores, p.softcap * tanh_(scores / p.softcap), is_number);
}

// Scores that no longer leave ±softcap: softcap·tanh(score / softcap).

fn capped(scores: vec4<f32>) -> vec4<f32> {
    return p.softcap * tanh_(scores / p.softcap);
}

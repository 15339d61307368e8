// Scores as they are.

fn masked(score: f32, b: u32, h: u32, s: u32, t: u32) -> f32 {
    return score;
}

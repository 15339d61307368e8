// Weights whose zero is 0.

fn zero_at(group: u32, n: u32) -> f32 {
    return 0.0;
}

// Rows whose zero is 0.

fn x_zero_at(b: u32, m: u32) -> i32 {
    return 0;
}

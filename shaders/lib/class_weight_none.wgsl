// Every class counts the same.

fn class_weight(label: u32) -> f32 {
    return 1.0;
}

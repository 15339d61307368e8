// What a key of this score weighs beside the largest, exp(score - top): 1 where that is the key itself, 0 of a key
// that is not seen and where it would be no normal number. What is not a number stays so, where a device lets it:
// it compares with nothing. The file that links it says HIDDEN.

fn relative_weight(score: f32, top: f32) -> f32 {
    let less = score - select(top, 0.0, top <= HIDDEN);
    let some = select(exp(max(less, -87.0)), 1.0, less == 0.0);
    // A driver's exp may make a number of what is none.
    let is_number = (bitcast<u32>(less) & 0x7fffffffu) <= 0x7f800000u;
    return select(less, select(some, 0.0, less <= -87.0), is_number);
}

// Keys: where row t of sequence b begins, in groups or words, of the first head.

fn k_row(b: u32, t: u32) -> u32 {
    let place = place_of(b, t);
    return p.k_offset + place.x * p.k_B + place.y * p.k_T;
}

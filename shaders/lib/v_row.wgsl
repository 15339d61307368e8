// Values: where row t of sequence b begins, in groups or words, of the first head.

fn v_row(b: u32, t: u32) -> u32 {
    let place = place_of(b, t);
    return p.v_offset + place.x * p.v_B + place.y * p.v_T;
}

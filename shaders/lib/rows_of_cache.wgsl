// Where key t of sequence b begins, in groups or words: its row of k, and of v, of the first head.

fn k_row(b: u32, t: u32) -> u32 {
    let place = place_of(b, t);
    return p.k_offset + place.x * p.k_B + place.y * p.k_T;
}

fn v_row(b: u32, t: u32) -> u32 {
    let place = place_of(b, t);
    return p.v_offset + place.x * p.v_B + place.y * p.v_T;
}

// Where rows of k and v are kept.
//
// Contract: RING is a knob; k_cache is bound, and v_cache or what stands for it.

// Of token s of sequence b: the sequence or the page, the row in it, and 1 if it is kept. What would lie past the
// end is not, in a ring all but the last rows that there is room for are not, so that no element has two writers.
fn row_place(b: u32, s: u32) -> vec3<u32> {
    let room = rows_of_sequence();
    let at = first_row(b) + s;
    // past the end, also where the sum has wrapped around
    let before_end = at < room && at >= s;
    let kept = select(before_end, s + room >= p.S, RING) && room > 0u;
    return page_of(b, select(at, at % room, RING), kept);
}

// The first group of a row.
fn cache_at(is_v: bool, place: vec3<u32>, g: u32) -> u32 {
    let of_k = p.k_cache_offset + place.x * p.k_cache_B + place.y * p.k_cache_T + g * p.k_cache_G;
    let of_v = p.v_cache_offset + place.x * p.v_cache_B + place.y * p.v_cache_T + g * p.v_cache_G;
    return select(of_k, of_v, is_v);
}

fn cache4(is_v: bool, i: u32, v: vec4<f32>) {
    if is_v {
        store4_v_cache(i, v);
    } else {
        store4_k_cache(i, v);
    }
}

// Rows of a workgroup that has the keys and values of one g: queries of the heads that share those, and how they
// score a key. The file that links it says REACH, LEFT and HIDDEN.

// The first and the last query of rows, which are of one head or of several.
fn queries_of(first: u32, last: u32) -> vec2<u32> {
    return select(vec2<u32>(0u, p.S - 1u), vec2<u32>(first, last) % p.S, first / p.S == last / p.S);
}

// The keys from the tile with the first one that some query s.x to s.y sees to behind the last such.
fn seen_by(s: vec2<u32>, length: u32, tile: u32) -> vec2<u32> {
    if REACH == 0u {
        return vec2<u32>(0u, length);
    }
    let reach = reach_of(length);
    // with more queries than keys, maybe none
    let seen = s.y + 1u + reach + min(p.right, p.S + p.T);
    let end = min(length, seen - min(seen, p.S));
    let first = s.x + reach - min(s.x + reach, p.S + min(p.left, p.S + p.T));
    return vec2<u32>(select(0u, first - first % tile, LEFT), end);
}

// Whether a query sees a key, whatever a mask says.
fn sees(s: u32, key: u32, length: u32) -> bool {
    let last = s + reach_of(length);
    let near = !LEFT || key + p.S + min(p.left, p.S + p.T) >= last;
    let behind = REACH == 0u || key + p.S <= last + min(p.right, p.S + p.T);
    return key < length && near && behind;
}

// A row's score of a key that it sees; HIDDEN if the mask hides that.
fn score_of(dots: f32, b: u32, sh: vec2<u32>, key: u32, length: u32) -> f32 {
    let along = f32(i32(key + p.S) - i32(sh.x + reach_of(length)));
    let score = tilted(capped(vec4<f32>(dots * p.scale)), sh.y, vec4<f32>(along)).x;
    return masked(score, b, sh.y, sh.x, min(key, p.T - 1u));
}

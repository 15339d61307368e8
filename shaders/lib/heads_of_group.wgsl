// Rows of a workgroup that has the keys and values of one g: queries of the heads that share those, and how they
// score a key. The file that links it says REACH, LEFT, HIDDEN, D4 and TAIL.

// The place of a row of the workgroup among its sequence's queries, and its head.
fn row_of(row: u32, g: u32) -> vec2<u32> {
    let r = min(row, p.S * (p.H / p.G) - 1u);
    return vec2<u32>(r % p.S, g * (p.H / p.G) + r / p.S);
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

// Four elements of q of a row, zeros past the last.
fn query4(b: u32, sh: vec2<u32>, d4: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) + d4 * 4u < vec4<u32>(p.D);
    return select(vec4<f32>(0.0), load4_q(p.q_offset + b * p.q_B + sh.x * p.q_S + sh.y * p.q_H + d4), live);
}

// Four elements of k, of which those behind the last count as 0.
fn whole4(k4: vec4<f32>, d4: u32) -> vec4<f32> {
    if TAIL && d4 == D4 - 1u {
        return select(vec4<f32>(0.0), k4, vec4<u32>(0u, 1u, 2u, 3u) + d4 * 4u < vec4<u32>(p.D));
    }
    return k4;
}

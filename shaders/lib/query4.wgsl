// Four elements of q of a row, zeros past the last.
fn query4(b: u32, sh: vec2<u32>, d4: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) + d4 * 4u < vec4<u32>(p.D);
    return select(vec4<f32>(0.0), load4_q(p.q_offset + b * p.q_B + sh.x * p.q_S + sh.y * p.q_H + d4), live);
}

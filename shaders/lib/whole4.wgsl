// Four elements of k, of which those behind the last count as 0. The file that links it says
// D4, groups of D, and TAIL, whether the last of them is not full.
fn whole4(k4: vec4<f32>, d4: u32) -> vec4<f32> {
    if TAIL && d4 == D4 - 1u {
        return select(vec4<f32>(0.0), k4, vec4<u32>(0u, 1u, 2u, 3u) + d4 * 4u < vec4<u32>(p.D));
    }
    return k4;
}

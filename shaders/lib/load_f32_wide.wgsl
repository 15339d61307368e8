// Reading tensor t: four f32 are two u64. Where they are the same for all lanes and a driver checks bounds for
// each word, that is half the work. The host writes the tensor's name for `t`.

fn load4_t(i: u32) -> vec4<f32> {
    let both = t[i];
    let words = vec4<u32>(u32(both.x), u32(both.x >> 32u), u32(both.y), u32(both.y >> 32u));
    return bitcast<vec4<f32>>(words);
}

// Has the line in the cache that group i is in.
fn touch_t(i: u32) -> u32 {
    let word = t[i];
    return u32(word.x);
}

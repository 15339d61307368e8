// Reading tensor t: four f16 are a u64, which a processor's lanes load as fast as half of it. The host writes the
// tensor's name for `t`.

fn load4_t(i: u32) -> vec4<f32> {
    let word = t[i];
    return vec4<f32>(unpack2x16float(u32(word)), unpack2x16float(u32(word >> 32u)));
}

// Has the line in the cache that group i is in.
fn touch_t(i: u32) -> u32 {
    let word = t[i];
    return u32(word);
}

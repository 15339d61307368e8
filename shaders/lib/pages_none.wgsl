// The keys of a sequence lie one after the other.

fn place_of(b: u32, t: u32) -> vec2<u32> {
    return vec2<u32>(b, t);
}

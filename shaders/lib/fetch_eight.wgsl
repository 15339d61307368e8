// Groups of four of eight neighbouring columns of w, of which the first has a number that is a multiple of eight:
// they fill whole words, each of which is loaded once. Or, where SIDE is 1, one by one.

struct Eight {
    low: vec4<u32>,
    high: vec2<u32>,
}

fn fetch_w(i: u32) -> Eight {
    var words: Eight;
    if SIDE == 1u {
        words.low.x = i;
        return words;
    }
    let at = i / 8u * LOW;
    if LOW == 4u {
        words.low = vec4<u32>(w[at], w[at + 1u], w[at + 2u], w[at + 3u]);
    } else {
        words.low = vec4<u32>(w[at], w[at + 1u], 0u, 0u);
    }
    let above = p.N * (p.K / 32u) * LOW + i / 8u * HIGH;
    if HIGH == 2u {
        words.high = vec2<u32>(w[above], w[above + 1u]);
    } else if HIGH == 1u {
        words.high = vec2<u32>(w[above], 0u);
    }
    return words;
}

fn cut4(word: u32, r: u32, bits: u32) -> vec4<u32> {
    let shifts = vec4<u32>(r * 4u * bits % 32u) + vec4<u32>(0u, 1u, 2u, 3u) * bits;
    return (vec4<u32>(word) >> shifts) & vec4<u32>((1u << bits) - 1u);
}

// That of the column which is r after the first.
fn taken_w(words: Eight, r: u32, block: vec2<f32>) -> vec4<f32> {
    if SIDE == 1u {
        return load_w(words.low.x, block);
    }
    var code = cut4(words.low[r * LOW / 8u], r, LOW);
    if HIGH > 0u {
        code |= cut4(words.high[r * HIGH / 8u], r, HIGH) << vec4<u32>(LOW);
    }
    return weight4(code, block);
}

// Something of what is in memory there, for whoever wants it in a cache.
fn touch_w(i: u32) -> u32 {
    let eighth = i / 8u;
    if HIGH == 0u {
        return w[eighth * LOW];
    }
    return w[eighth * LOW] | w[p.N * (p.K / 32u) * LOW + eighth * HIGH];
}

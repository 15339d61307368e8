// Groups of four of eight neighbouring columns of w, of which the first has a number that is a multiple of eight:
// they fill whole words, each of which is loaded once.

struct Eight {
    low: vec4<u32>,
    high: vec2<u32>,
}

fn fetch_w(i: u32) -> Eight {
    var words: Eight;
    let at = i / 8u * LOW;
    words.low = vec4<u32>(field_w(at, 0u, 32u), field_w(at, 1u, 32u), 0u, 0u);
    if LOW == 4u {
        words.low.z = field_w(at, 2u, 32u);
        words.low.w = field_w(at, 3u, 32u);
    }
    let above = p.N * (p.K / 32u) * LOW + i / 8u * HIGH;
    if HIGH == 2u {
        words.high = vec2<u32>(field_w(above, 0u, 32u), field_w(above, 1u, 32u));
    } else if HIGH == 1u {
        words.high = vec2<u32>(word_w(above), 0u);
    }
    return words;
}

fn cut4(word: u32, r: u32, bits: u32) -> vec4<u32> {
    let shifts = vec4<u32>(r * 4u * bits % 32u) + vec4<u32>(0u, 1u, 2u, 3u) * bits;
    return (vec4<u32>(word) >> shifts) & vec4<u32>((1u << bits) - 1u);
}

// A block's scale and least, and its scale for each place of a code in a word.
struct Placed {
    block: vec2<f32>,
    scales: vec4<f32>,
}

// Where in a word the codes of a column are that is r after the first.
fn places(r: u32) -> vec4<u32> {
    return vec4<u32>(r * 4u * LOW % 32u) + vec4<u32>(0u, 1u, 2u, 3u) * LOW;
}

fn placed(block: vec2<f32>, r: u32) -> Placed {
    let less = bitcast<vec4<f32>>((vec4<u32>(127u) - places(r)) << vec4<u32>(23u));
    return Placed(block, block.x * less);
}

// That of the column which is r after the first.
fn taken_w(words: Eight, r: u32, block: Placed) -> vec4<f32> {
    let low = words.low[r * LOW / 8u];
    if HIGH == 0u && TABLE == 0u {
        // Codes stay where they are, without a shift for each: as numbers they and their scales are some powers of
        // two more and less, which is exact.
        let code = vec4<u32>(low) & (vec4<u32>((1u << LOW) - 1u) << places(r));
        return fma(vec4<f32>(code), block.scales, vec4<f32>(block.block.y));
    }
    var code = cut4(low, r, LOW);
    if HIGH > 0u {
        code |= cut4(words.high[r * HIGH / 8u], r, HIGH) << vec4<u32>(LOW);
    }
    return weight4(code, block.block);
}

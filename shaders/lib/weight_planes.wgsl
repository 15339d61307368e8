// Weights in blocks whose codes lie in one or two planes of bits: first the lower bits of all codes, then the
// upper bits of all. In each, groups of four along K have the numbers that `w_column` says, and neighbours share
// words. A weight is scale · code + least, and products are exact in f32; or scale · the number that a code
// stands for.

const LOW: u32 = 4u; // knob: bits of a code in the first plane, 2 or 4
const HIGH: u32 = 0u; // knob: bits of a code in the second, 0, 1 or 2
const ZERO: f32 = 0.0; // knob: the code of a weight 0, where there is no least
const TABLE: u32 = 0u; // knob: 0 codes are numbers, 1 they stand for those of e2m1, twice, 2 for those of IQ4

fn bits4(first: u32, i: u32, bits: u32) -> vec4<u32> {
    let each = 8u / bits; // groups in a word
    let shifts = vec4<u32>(i % each * 4u * bits) + vec4<u32>(0u, 1u, 2u, 3u) * bits;
    return (vec4<u32>(word_w(first + i / each)) >> shifts) & vec4<u32>((1u << bits) - 1u);
}

fn number4(code: vec4<u32>) -> vec4<f32> {
    if TABLE == 1u {
        let size = vec4<f32>((vec4<u32>(0xc8643210u) >> ((code & vec4<u32>(7u)) * 4u)) & vec4<u32>(15u));
        return select(size, -size, code >= vec4<u32>(8u));
    }
    let odd = (code & vec4<u32>(4u)) != vec4<u32>(0u);
    let below = select(vec4<u32>(0xbfad9881u), vec4<u32>(0xf6eaddcfu), odd);
    let above = select(vec4<u32>(0x26190d01u), vec4<u32>(0x71594535u), odd);
    let word = select(below, above, code >= vec4<u32>(8u));
    let highest = word << (vec4<u32>(24u) - (code & vec4<u32>(3u)) * 8u);
    return vec4<f32>(bitcast<vec4<i32>>(highest) >> vec4<u32>(24u));
}

// Where unit `unit` of the `units` that a column has of something lies: in panels, as the codes.
fn unit_of(unit: u32, units: u32, n: u32) -> u32 {
    return n / PANEL * PANEL * units + unit * w_step(n) + n % PANEL;
}

// A block without a least.
fn scaled(scale: f32) -> vec2<f32> {
    return vec2<f32>(scale, select(-ZERO * scale, 1.0, TABLE > 0u));
}

fn load_w(i: u32, block: vec2<f32>) -> vec4<f32> {
    var code = bits4(0u, i, LOW);
    if HIGH > 0u {
        code |= bits4(p.N * (p.K / 32u) * LOW, i, HIGH) << vec4<u32>(LOW);
    }
    return weight4(code, block);
}

fn weight4(code: vec4<u32>, block: vec2<f32>) -> vec4<f32> {
    if TABLE > 0u {
        return number4(code) * block.y * block.x;
    }
    return fma(vec4<f32>(code), vec4<f32>(block.x), vec4<f32>(block.y));
}

// Something of what is in memory there, for whoever wants it in a cache.
fn touch_w(i: u32) -> u32 {
    let eighth = i / 8u;
    if HIGH == 0u {
        return word_w(eighth * LOW);
    }
    return word_w(eighth * LOW) | word_w(p.N * (p.K / 32u) * LOW + eighth * HIGH);
}

// Rows are kept as codes, then scales, each in whole words: src/formats/cache.rs. A team leaves a row in workgroup
// memory, and each of its invocations makes every so many-th word of that.
//
// Contract: LANES invocations are one of TEAMS teams.

const FORM: u32 = 1u; // knob: 1 int8 with a scale for the row, 2 q8_0, 3 q4_0
const WIDTH: u32 = 8u; // knob: groups of four of the widest row
const BLOCKS: u32 = 1u; // knob: its blocks of 32

var<workgroup> row_groups: array<vec4<f32>, WIDTH * TEAMS>;
var<workgroup> row_farthest: array<f32, BLOCKS * TEAMS>;

fn kept_from(at: u32, lane: u32) -> u32 {
    return lane / LANES * WIDTH;
}

fn keep4(is_v: bool, i: u32, v: vec4<f32>) {
    row_groups[i] = v;
}

fn inside4(c4: u32, width: u32) -> vec4<bool> {
    return vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u < vec4<u32>(width);
}

// Four elements of a team's row, 0 behind its end.
fn kept4(team: u32, c4: u32, width: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), row_groups[team * WIDTH + min(c4, WIDTH - 1u)], inside4(c4, width));
}

// Of a block, or of a row that has but one: the bits of its scale, and what elements are multiplied with.
fn scale_and_inverse(team: u32, block: u32, blocks: u32) -> vec2<u32> {
    var farthest = row_farthest[team * BLOCKS + block];
    if FORM == 1u {
        for (var i = 0u; i < blocks; i++) {
            farthest = max(abs(farthest), abs(row_farthest[team * BLOCKS + i]));
        }
    }
    var d = abs(farthest) / 127.0;
    var sign = 0u;
    if FORM == 3u {
        // Of a block of zeros too, the scale has the other sign than the element.
        d = farthest * -0.125;
        sign = select(0x80000000u, 0u, farthest < 0.0);
    }
    let inverse = select(0.0, 1.0 / d, abs(d) >= 1.1754944e-38);
    // A device may give a zero any sign.
    return vec2<u32>((bitcast<u32>(d) & 0x7fffffffu) | sign, bitcast<u32>(inverse));
}

// Four codes of 4 bits; nothing behind the row's end.
fn nibbles(team: u32, c4: u32, width: u32, inverse: f32) -> u32 {
    let codes = vec4<u32>(clamp(kept4(team, c4, width) * inverse + 8.5, vec4<f32>(0.0), vec4<f32>(15.0)));
    let c = select(vec4<u32>(0u), codes, inside4(c4, width));
    return c.x | (c.y << 4u) | (c.z << 8u) | (c.w << 12u);
}

fn end_row(is_v: bool, at: u32, kept: bool, lane: u32) {
    let team = lane / LANES;
    let width = select(0u, select(p.D, p.C, is_v), kept);
    let blocks = (width + 31u) / 32u;
    workgroupBarrier(); // the row is there
    for (var block = lane % LANES; block < blocks; block += LANES) {
        var farthest = 0.0;
        for (var c4 = 0u; c4 < 8u; c4++) {
            let v = kept4(team, block * 8u + c4, width);
            //@unroll k 0..4
            for (var k = 0u; k < 4u; k++) {
                farthest = select(farthest, v[k], abs(v[k]) > abs(farthest)); // of those as far the first
            }
        }
        row_farthest[team * BLOCKS + block] = farthest;
    }
    workgroupBarrier(); // and what is farthest from 0 in each block
    let of_codes = select((width + 3u) / 4u, (width + 7u) / 8u, FORM == 3u);
    let of_scales = select((blocks + 1u) / 2u, u32(kept), FORM == 1u);
    for (var w = lane % LANES; w < of_codes + of_scales; w += LANES) {
        let first = select(w / select(8u, 4u, FORM == 3u), (w - of_codes) * 2u, w >= of_codes);
        let block = min(first, BLOCKS - 1u);
        let scale = scale_and_inverse(team, block, blocks);
        let inverse = bitcast<f32>(scale.y);
        var word = scale.x;
        if w < of_codes {
            if FORM == 3u {
                word = nibbles(team, 2u * w, width, inverse) | (nibbles(team, 2u * w + 1u, width, inverse) << 16u);
            } else {
                let codes = round_away(kept4(team, w, width) * inverse);
                word = pack4xI8(vec4<i32>(clamp(codes, vec4<f32>(-128.0), vec4<f32>(127.0))));
            }
        } else if FORM != 1u {
            let next = scale_and_inverse(team, min(block + 1u, BLOCKS - 1u), blocks).x;
            word = half_of(scale.x) | select(0u, half_of(next) << 16u, first + 1u < blocks);
        }
        cache4(is_v, at + w, vec4<f32>(unpack4xU8(word)));
    }
}

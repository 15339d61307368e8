// probe.fetch_i8, probe.fetch_u4, probe.fetch_u6    how many codes of weights a device loads from what is cached,
//                                                   makes f32 of, and adds, in a second
//
//   x        [16384]        in    words of codes
//   y        [invocations]  out   what keeps the loads from being left out; hardly ever written
//
// Every invocation loads another word than its neighbours, 64 a turn: with fewer, a processor is busy with the
// loop. Where loads of several lanes are many instructions, as there, loading and unpacking do not overlap, and
// neither probe of one of them binds. Codes of six bits are four of one word and two of another, which has those
// of two of the former.

const LANES: u32 = 64u;
const BITS: u32 = 8u; // knob: of a code, 8, 4 or 6
const WORDS: u32 = 64u; // knob: a turn; whole threes of six bits

struct Params {
    loops: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

fn six(low: u32, high: u32) -> vec4<u32> {
    let lower = (vec4<u32>(low) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return lower | (((vec4<u32>(high) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u)) << vec4<u32>(4u));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let workgroup = wg.y * wgs.x + wg.x;
    var sums: array<vec4<f32>, 4>;
    for (var k = 0u; k < p.loops; k++) {
        let base = (workgroup + k) % 4u * 1024u + lane;
        //@unroll i 0..WORDS
        for (var i = 0u; i < WORDS; i++) {
            let word = x[base + i * LANES];
            if BITS == 8u {
                sums[i % 4u] += vec4<f32>(unpack4xI8(word));
            } else if BITS == 6u {
                if i % 3u > 0u {
                    let upper = x[base + i / 3u * 3u * LANES] >> (i % 3u / 2u * 16u);
                    sums[i % 2u * 2u] += vec4<f32>(six(word, upper));
                    sums[i % 2u * 2u + 1u] += vec4<f32>(six(word >> 16u, upper >> 8u));
                }
            } else {
                let shifts = vec4<u32>(0u, 4u, 8u, 12u);
                sums[i % 2u * 2u] += vec4<f32>((vec4<u32>(word) >> shifts) & vec4<u32>(15u));
                sums[i % 2u * 2u + 1u] += vec4<f32>((vec4<u32>(word) >> (shifts + 16u)) & vec4<u32>(15u));
            }
        }
    }
    // The codes of numbers between 1 and 2 are known to nobody, but such a sum is of no codes at all.
    let sum = sums[0] + sums[1] + sums[2] + sums[3];
    if dot(sum, vec4<f32>(1.0)) == 0.5 {
        y[workgroup * LANES + lane] = sum.x;
    }
}

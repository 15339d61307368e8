// probe.unpack_u4, probe.unpack_u6    how many codes of four or six bits a device makes f32 of, and adds, in a
//                                     second
//
//   y        [invocations]  four   out    what keeps the work from being left out
//
// Eight sums of four in registers. What is unpacked next is a sum's bits, so that none can be left out. A shift, a
// mask, a conversion and an addition: the least that a kernel does with a code. One of six bits is put together.

const LANES: u32 = 64u;
const BITS: u32 = 4u; // knob: of a code, 4 or 6

struct Params {
    loops: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let id = (wg.y * wgs.x + wg.x) * LANES + lane;
    var c: array<vec4<f32>, 8>;
    //@unroll i 0..8
    for (var i = 0u; i < 8u; i++) {
        c[i] = vec4<f32>(f32(i * 64u + lane));
    }
    for (var k = 0u; k < p.loops; k++) {
        //@unroll turn 0..8
        for (var turn = 0u; turn < 8u; turn++) {
            //@unroll i 0..8
            for (var i = 0u; i < 8u; i++) {
                let words = bitcast<vec2<u32>>(c[i].xy);
                var codes = (vec4<u32>(words.x) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
                if BITS == 6u {
                    let upper = (vec4<u32>(words.y) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
                    codes |= upper << vec4<u32>(4u);
                }
                c[i] += vec4<f32>(codes);
            }
        }
    }
    var sum = vec4<f32>(0.0);
    //@unroll i 0..8
    for (var i = 0u; i < 8u; i++) {
        sum += c[i];
    }
    if id < arrayLength(&y) {
        y[id] = sum;
    }
}

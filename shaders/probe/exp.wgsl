// probe.exp    how many exponentials a device does in a second
//
//   y        [invocations]  f32   out    what keeps the work from being left out
//
// Eight numbers in registers; exp(-c) of each tends to 0.567, where nothing overflows.

const LANES: u32 = 64u;

struct Params {
    loops: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let id = (wg.y * wgs.x + wg.x) * LANES + lane;
    var c: array<f32, 8>;
    //@unroll i 0..8
    for (var i = 0u; i < 8u; i++) {
        c[i] = f32(i * 64u + lane) * 0.001;
    }
    for (var k = 0u; k < p.loops; k++) {
        //@unroll turn 0..8
        for (var turn = 0u; turn < 8u; turn++) {
            //@unroll i 0..8
            for (var i = 0u; i < 8u; i++) {
                c[i] = exp(-c[i]);
            }
        }
    }
    var sum = 0.0;
    //@unroll i 0..8
    for (var i = 0u; i < 8u; i++) {
        sum += c[i];
    }
    if id < arrayLength(&y) {
        y[id] = sum;
    }
}

// probe.load    how many loads of four f32 a device does in a second, from what is cached
//
//   x        [4096]         in    groups of four
//   y        [invocations]  out   what keeps the loads from being left out; hardly ever written
//
// Every invocation loads another group than its neighbours, sixteen a turn, each added to a sum.

const LANES: u32 = 64u;

struct Params {
    loops: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let workgroup = wg.y * wgs.x + wg.x;
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < p.loops; k++) {
        let base = (workgroup + k) % 4u * 1024u + lane;
        //@unroll i 0..16
        for (var i = 0u; i < 16u; i++) {
            sum += x[base + i * LANES];
        }
    }
    // What is read lies between 1 and 2.
    if dot(sum, vec4<f32>(1.0)) < 0.0 {
        y[workgroup * LANES + lane] = sum.x;
    }
}

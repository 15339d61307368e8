// probe.workgroup    how many bytes of workgroup memory a device reads in a second
//
//   y        [invocations]  out   what keeps the loads from being left out; hardly ever written
//
// Every invocation loads another group of four than its neighbours, sixteen a turn, each added to a sum.

const LANES: u32 = 64u;

struct Params {
    loops: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> shared4: array<vec4<f32>, 512>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let workgroup = wg.y * wgs.x + wg.x;
    for (var i = lane; i < 512u; i += LANES) {
        shared4[i] = vec4<f32>(1.0 + f32(i) * 0.001);
    }
    workgroupBarrier();
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < p.loops; k++) {
        let base = lane + k % 2u * 256u;
        //@unroll i 0..16
        for (var i = 0u; i < 16u; i++) {
            sum += shared4[(base + i * 16u) % 512u];
        }
    }
    if dot(sum, vec4<f32>(1.0)) < 0.0 {
        y[workgroup * LANES + lane] = sum.x;
    }
}

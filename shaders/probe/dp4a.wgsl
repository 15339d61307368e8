// probe.dp4a    how many dot products of four packed int8 a device does in a second
//
//   y        [invocations]  i32   out    what keeps the work from being left out
//
// Sixteen sums in registers, each the next dot product's operand too, so that none can be left out.

const LANES: u32 = 64u;

struct Params {
    loops: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<i32>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let id = (wg.y * wgs.x + wg.x) * LANES + lane;
    let b = 0x01ff7f03u + lane;
    var c: array<i32, 16>;
    //@unroll i 0..16
    for (var i = 0u; i < 16u; i++) {
        c[i] = i32(i * 0x01020304u + lane);
    }
    for (var k = 0u; k < p.loops; k++) {
        //@unroll turn 0..16
        for (var turn = 0u; turn < 16u; turn++) {
            //@unroll i 0..16
            for (var i = 0u; i < 16u; i++) {
                c[i] += dot4I8Packed(bitcast<u32>(c[i]), b);
            }
        }
    }
    var sum = 0i;
    //@unroll i 0..16
    for (var i = 0u; i < 16u; i++) {
        sum ^= c[i];
    }
    if id < arrayLength(&y) {
        y[id] = sum;
    }
}

// probe.fma, probe.f16    how many multiplications and additions a device does in a second
//
//   y        [invocations]  pairs   out    what keeps the work from being left out
//
// Sixteen numbers in registers, in pairs, each multiplied and added to 32 times a turn, so that neither the
// loop nor the bound that is put on it shows. Each pair depends on its last value and on no other pair. How
// many turns there are is in the text: of a number that comes from elsewhere, software keeps a mask of lanes.

alias real = f32; // knob: the type
alias pair = vec2<real>;
const LOOPS: u32 = 1u; // knob: turns
const LANES: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> y: array<vec2<f32>>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let id = (wg.y * wgs.x + wg.x) * LANES + lane;
    // Never known when it is compiled; values stay near 1, where nothing is slow.
    let a = pair(real(0.99) - real(f32(lane & 3u) * 0.001));
    let b = pair(real(0.01) + real(f32(lane & 7u) * 0.001));
    var c: array<pair, 8>;
    //@unroll i 0..8
    for (var i = 0u; i < 8u; i++) {
        c[i] = pair(real(f32(i) * 0.1));
    }
    for (var k = 0u; k < LOOPS; k++) {
        //@unroll turn 0..32
        for (var turn = 0u; turn < 32u; turn++) {
            //@unroll i 0..8
            for (var i = 0u; i < 8u; i++) {
                c[i] = fma(c[i], a, b);
            }
        }
    }
    var sum = pair(real(0.0));
    //@unroll i 0..8
    for (var i = 0u; i < 8u; i++) {
        sum += c[i];
    }
    if id < arrayLength(&y) {
        y[id] = vec2<f32>(sum);
    }
}

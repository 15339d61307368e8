// probe.read, probe.read_cached    how many bytes a device reads in a second
//
//   x        [groups]       in    groups of four
//   y        [invocations]  out   what keeps the reads from being left out; hardly ever written
//
// A workgroup reads TURNS times GROUPS groups for each of its invocations from a stretch of its own; loops times
// over, where what was read the first time is to be in a cache. RUN invocations read neighbours, then the
// neighbours of those: as many as a device runs in step, so that each walks straight through memory. A
// processor that runs 8 in step, and skips between, waits for every line; and where it reads for several lanes
// at once its prefetcher may not see the walk: there the lines of the next turn are touched, as matmul.vector
// touches them (benches/log.md).

const LANES: u32 = 64u; // knob: invocations in a workgroup
const GROUPS: u32 = 16u;
const RUN: u32 = 64u; // knob: invocations that read neighbours
const TURNS: u32 = 1u; // knob: times GROUPS groups that an invocation reads
const LINES: u32 = 0u; // knob: cache lines of the next turn to touch, by loads that are the same for all
const LINE: u32 = 4u; // groups of four in a cache line

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
    let blocks = arrayLength(&x) / (LANES * GROUPS * TURNS);
    if workgroup >= blocks {
        return;
    }
    var sum = vec4<f32>(0.0);
    var touched = 0.0;
    for (var k = 0u; k < p.loops * TURNS; k++) {
        let turn = k % TURNS;
        let block = ((workgroup + k / TURNS) % blocks * TURNS + turn) * LANES * GROUPS;
        let next = block + select(0u, LANES * GROUPS, turn + 1u < TURNS);
        //@unroll line 0..LINES
        for (var line = 0u; line < LINES; line++) {
            touched = max(touched, x[next + line * LINE].x);
        }
        let base = block + lane / RUN * RUN * GROUPS + lane % RUN;
        //@unroll i 0..GROUPS
        for (var i = 0u; i < GROUPS; i++) {
            sum += x[base + i * RUN];
        }
    }
    // What is read lies between 1 and 2.
    if dot(sum, vec4<f32>(1.0)) + touched < 0.0 {
        y[workgroup * LANES + lane] = sum.x;
    }
}

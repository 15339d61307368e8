// probe.copy    how many bytes a device reads and writes in a second
//
//   x        [groups]   in    groups of four
//   y        [groups]   out   the same
//
// A workgroup copies GROUPS groups for each of its invocations, RUN invocations neighbours, then the neighbours
// of those: as in read.wgsl.

const LANES: u32 = 64u; // knob: invocations in a workgroup
const GROUPS: u32 = 4u; // knob: groups of four that each copies
const RUN: u32 = 64u; // knob: invocations that copy neighbours

struct Params {
    groups: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let base = (wg.y * wgs.x + wg.x) * LANES * GROUPS + lane / RUN * RUN * GROUPS + lane % RUN;
    if base + (GROUPS - 1u) * RUN >= p.groups {
        return;
    }
    //@unroll i 0..GROUPS
    for (var i = 0u; i < GROUPS; i++) {
        y[base + i * RUN] = x[base + i * RUN];
    }
}

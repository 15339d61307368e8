// The largest of each block of 48 elements, by a tree in workgroup memory.
// Mended: the upper half starts at the half rounded up, and nothing beyond it is read.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> tops: array<f32>;

const BLOCK: u32 = 48u;
var<workgroup> part: array<f32, BLOCK>;

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    part[lane] = x[wg.x * BLOCK + lane];
    workgroupBarrier();
    var left = BLOCK;
    while left > 1u {
        let half = (left + 1u) / 2u;
        if lane + half < left {
            part[lane] = max(part[lane], part[lane + half]);
        }
        left = half;
        workgroupBarrier();
    }
    if lane == 0u {
        tops[wg.x] = part[0];
    }
}

// The largest and the sum of `v` over four neighbours of a workgroup of 64, the same in all of them. After a sum
// everybody sees what was written to workgroup memory before; one and the other by turns need no more barriers.

const by_subgroup: bool = false;

var<workgroup> quad_parts: array<f32, 128>;

fn quad_max(v: f32, lane: u32) -> f32 {
    quad_parts[lane] = v;
    workgroupBarrier(); // every part is there
    let i = lane / 4u * 4u;
    return max(max(quad_parts[i], quad_parts[i + 1u]), max(quad_parts[i + 2u], quad_parts[i + 3u]));
}

fn quad_sum(v: f32, lane: u32) -> f32 {
    quad_parts[64u + lane] = v;
    workgroupBarrier(); // every part is there, and what else was written
    let i = 64u + lane / 4u * 4u;
    return (quad_parts[i] + quad_parts[i + 1u]) + (quad_parts[i + 2u] + quad_parts[i + 3u]);
}

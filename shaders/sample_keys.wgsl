// sample, first part    keys[r, c] = the order of x[r, c], once the last tokens are made less likely
//                       tops[r, i] = the largest of 64 keys
//
//   x       [R, V]           f32 f16  in
//   recent  [R, N]           u32      in   may be left out; a number from V on is no token
//   keys    [R, ceil(V, 4)]  u32      out  lib/order.wgsl; 0 past the end
//   tops    [R, ceil(V/64)]  u32      out
//
// A workgroup owns a share of a row: SHARE groups of four. With its largest keys known, blocks that cannot matter
// any more need not be read again. What is past a half of f32's range counts as that, so -∞ does, and two of them
// have a difference.

alias x_group = vec4<f32>; // knob: four elements of x
const BLOCK: u32 = 256u; // knob: invocations in a workgroup
const SHARE: u32 = 1024u;
const TOPS: u32 = 64u; // blocks of 16 groups in a share
const EDGE: f32 = 1.70141173e38;

struct Params {
    R: u32, V: u32, N: u32,
    x_offset: u32, x_R: u32,
    recent_offset: u32,
    keys_row: u32, tops_row: u32,
    penalty: f32,
}

@group(0) @binding(0) var<storage, read> x: array<x_group>;
@group(0) @binding(1) var<storage, read_write> keys: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> tops: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> block_tops: array<atomic<u32>, TOPS>;

// Divided where it is positive, else multiplied, and nothing past the edge on the way.
fn penalised(v: vec4<f32>) -> vec4<f32> {
    let less = min(v, vec4<f32>(EDGE * min(p.penalty, 1.0))) / p.penalty;
    let more = max(v, vec4<f32>(-EDGE / max(p.penalty, 1.0))) * p.penalty;
    return clamp(select(more, less, v > vec4<f32>(0.0)), vec4<f32>(-EDGE), vec4<f32>(EDGE));
}

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let share = wg.y * wgs.x + wg.x;
    let shares = (p.V + SHARE * 4u - 1u) / (SHARE * 4u);
    if share >= p.R * shares {
        return;
    }
    let r = share / shares;
    let begin = share % shares * SHARE;
    let end = min(begin + SHARE, (p.V + 3u) / 4u);
    for (var i = lane; i < TOPS; i += BLOCK) {
        atomicStore(&block_tops[i], 0u);
    }
    mark_recent(r, begin * 4u, lane);
    workgroupBarrier(); // the tops are empty
    for (var c4 = begin + lane; c4 < end; c4 += BLOCK) {
        let v = apply4_pre(load4_x(p.x_offset + r * p.x_R + c4), r, c4);
        let inside = clamp(v, vec4<f32>(-EDGE), vec4<f32>(EDGE));
        let again = recent4((c4 - begin) * 4u) & (inside > vec4<f32>(-EDGE)) & vec4<bool>(p.penalty != 1.0);
        let live = vec4<u32>(0u, 1u, 2u, 3u) + c4 * 4u < vec4<u32>(p.V);
        let key = select(vec4<u32>(0u), order4(select(inside, penalised(inside), again)), live);
        keys[r * (p.keys_row / 4u) + c4] = key;
        atomicMax(&block_tops[(c4 - begin) / 16u], max(max(key.x, key.y), max(key.z, key.w)));
    }
    workgroupBarrier(); // every top is found
    for (var i = lane; i < TOPS && begin + i * 16u < end; i += BLOCK) {
        tops[r * p.tops_row + begin / 16u + i] = atomicLoad(&block_tops[i]);
    }
}

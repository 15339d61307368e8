// matmul_experts, first part    the pairs of a token and one of its experts, sorted by expert
//
//   ids     [M, U]   u32  in   the experts of each token
//   starts  [E + 1]  u32  out  how many pairs have an expert before e
//   order   [M, U]   u32  out  the numbers m · U + u of all pairs: those of an expert side by side, ascending
//
// A pair whose id is no expert counts as one of an expert past the last. One workgroup for each expert and for
// that one. Each of its invocations goes over a part of all ids twice: it counts those before its expert and those
// of it, and writes the latter down behind those that earlier parts found. So nobody waits for another workgroup,
// nothing is atomic, and the order is always the same.

const PARTS: u32 = 64u; // invocations, each with a part of the pairs

struct Params {
    M: u32, U: u32, E: u32,
    ids_offset: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read_write> starts: array<u32>;
@group(0) @binding(2) var<storage, read_write> order: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> before: array<u32, PARTS>;
var<workgroup> own: array<u32, PARTS>;

@compute @workgroup_size(PARTS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) part: u32,
) {
    let e = wg.y * wgs.x + wg.x;
    if e > p.E {
        return;
    }
    let pairs = p.M * p.U;
    let each = (pairs + PARTS - 1u) / PARTS;
    let begin = min(part * each, pairs);
    let end = min(begin + each, pairs);
    var fewer = 0u;
    var mine = 0u;
    for (var i = begin; i < end; i++) {
        let id = min(ids[p.ids_offset + i], p.E);
        fewer += select(0u, 1u, id < e);
        mine += select(0u, 1u, id == e);
    }
    before[part] = fewer;
    own[part] = mine;
    workgroupBarrier(); // every part is counted

    var at = 0u;
    for (var q = 0u; q < PARTS; q++) {
        at += before[q];
    }
    if part == 0u {
        starts[e] = at;
    }
    for (var q = 0u; q < part; q++) {
        at += own[q];
    }
    for (var i = begin; i < end; i++) {
        if min(ids[p.ids_offset + i], p.E) == e {
            order[at] = i;
            at++;
        }
    }
}

// Which tokens of a share were among the last ones of their row: a bit for each.

const MARKS: u32 = 128u;

@group(0) @binding(0) var<storage, read> recent: array<u32>;

var<workgroup> marks: array<atomic<u32>, MARKS>;

fn mark_recent(r: u32, begin: u32, lane: u32) {
    for (var i = lane; i < MARKS; i += BLOCK) {
        atomicStore(&marks[i], 0u);
    }
    workgroupBarrier(); // nothing is marked
    for (var n = lane; n < p.N; n += BLOCK) {
        let token = recent[p.recent_offset + r * p.N + n];
        let at = token - begin; // of a token before the share, or of none, far past its end
        if token >= begin && at < MARKS * 32u {
            atomicOr(&marks[at / 32u], 1u << (at % 32u));
        }
    }
    workgroupBarrier(); // all are marked
}

// Of the four tokens from `at` on, counted from the share's first.
fn recent4(at: u32) -> vec4<bool> {
    let bits = vec4<u32>(atomicLoad(&marks[at / 32u]) >> (at % 32u));
    return ((bits >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) == vec4<u32>(1u);
}

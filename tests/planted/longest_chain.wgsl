// How long each chain of links is, by jumping: links in one buffer, jumps in another.
// Planted: the jumps of the odd elements are read and never written.

@group(0) @binding(0) var<storage, read> links: array<u32>;
@group(0) @binding(1) var<storage, read_write> jumps: array<u32>;
@group(0) @binding(2) var<storage, read_write> ends: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var i = 2u * lane; i < 64u; i += 64u) {
        jumps[i] = links[links[i]];
    }
    storageBarrier();
    var at = lane;
    for (var step = 0u; step < 4u; step++) {
        at = jumps[at]; // finds: unwritten-read
    }
    ends[lane] = at;
}

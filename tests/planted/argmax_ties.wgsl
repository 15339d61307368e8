// The place of the largest of 64 elements.
// Planted: every lane that holds the largest writes its own place.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> place: array<u32>;

var<workgroup> top: atomic<u32>;
var<workgroup> winner: u32;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    if lane == 0u {
        atomicStore(&top, 0u);
    }
    workgroupBarrier();
    atomicMax(&top, x[lane]);
    workgroupBarrier();
    if x[lane] == atomicLoad(&top) {
        winner = lane; // finds: race-workgroup
    }
    workgroupBarrier();
    if lane == 0u {
        place[0] = winner;
    }
}

// The number of the last block that holds an element above a threshold.
// Mended: the largest number is kept.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> last: atomic<u32>;

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    if x[id.x] > 8u {
        atomicMax(&last, wg.x);
    }
}

// The positive elements of a list, moved to its front.
// Mended: each lane counts what is kept before it.

@group(0) @binding(0) var<storage, read> x: array<i32>;
@group(0) @binding(1) var<storage, read_write> count: atomic<u32>;
@group(0) @binding(2) var<storage, read_write> kept: array<i32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let value = x[id.x];
    if value > 0 {
        atomicAdd(&count, 1u);
        var place = 0u;
        for (var i = 0u; i < id.x; i++) {
            if x[i] > 0 {
                place++;
            }
        }
        kept[place] = value;
    }
}

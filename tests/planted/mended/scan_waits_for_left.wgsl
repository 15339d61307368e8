// Running sums of block totals: each workgroup waits for the total of the one on its left.
// Mended: each workgroup adds up what lies on its left by itself.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> totals: array<atomic<u32>>;

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) wg: vec3<u32>) {
    var sum = 0u;
    for (var i = 0u; i < 16u; i++) {
        sum += x[wg.x * 16u + i];
    }
    var left = 1u;
    for (var i = 0u; i < wg.x * 16u; i++) {
        left += x[i];
    }
    atomicStore(&totals[wg.x + 1u], left + sum);
}

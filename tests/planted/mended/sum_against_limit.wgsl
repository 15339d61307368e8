// Which blocks of 64 weights add up to at least one.
// Mended: whole 64ths are added.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> full: array<u32>;

@compute @workgroup_size(4)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var sum = 0;
    for (var i = 0u; i < 16u; i++) {
        sum += subgroupAdd(i32(x[wg.x * 64u + i * 4u + lane] * 64.0));
    }
    if lane == 0u {
        full[wg.x] = u32(sum >= 32);
    }
}

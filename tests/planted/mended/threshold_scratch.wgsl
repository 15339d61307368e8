// Elements of a block that exceed the mean of the block before; means in a scratch buffer.
// Mended: the first block is compared with zero.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> means: array<f32>;
@group(0) @binding(2) var<storage, read_write> flags: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let block = lane / 8u;
    if lane % 8u == 0u {
        var sum = 0.0;
        for (var i = 0u; i < 8u; i++) {
            sum += x[lane + i];
        }
        means[block + 1u] = sum / 8.0;
    }
    if lane == 0u {
        means[0] = 0.0;
    }
    storageBarrier();
    var flag = 0u;
    if x[lane] > means[block] {
        flag = 1u;
    }
    flags[lane] = flag;
}

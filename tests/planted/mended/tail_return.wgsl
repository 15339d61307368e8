// Each element of 100 divided by the sum of its block of 64.
// Mended: lanes past the end bring zero and stay.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> part: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = arrayLength(&x);
    let live = id.x < n;
    part[lane] = 0.0;
    if live {
        part[lane] = x[id.x];
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < 64u; i++) {
        sum += part[i];
    }
    if live {
        y[id.x] = x[id.x] / sum;
    }
}

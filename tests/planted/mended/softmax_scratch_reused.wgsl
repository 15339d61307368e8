// The softmax of each row of 64 elements; one scratch array for both reductions.
// Mended: a barrier before the scratch array is filled again.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> scratch: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let value = x[id.x];
    scratch[lane] = value;
    workgroupBarrier();
    for (var step = 32u; step > 0u; step /= 2u) {
        if lane < step {
            scratch[lane] = max(scratch[lane], scratch[lane + step]);
        }
        workgroupBarrier();
    }
    let weight = exp(value - scratch[0]);
    workgroupBarrier();

    scratch[lane] = weight;
    workgroupBarrier();
    for (var step = 32u; step > 0u; step /= 2u) {
        if lane < step {
            scratch[lane] += scratch[lane + step];
        }
        workgroupBarrier();
    }
    y[id.x] = weight / scratch[0];
}

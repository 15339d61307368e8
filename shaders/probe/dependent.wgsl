// probe.dependent    what a dispatch costs that waits for the one before it
//
//   y        [1]   in and out   one more each time

@group(0) @binding(0) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) wg: vec3<u32>) {
    if all(wg == vec3<u32>(0u)) {
        y[0] += 1u;
    }
}

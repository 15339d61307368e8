// A convolution with three taps over a tile in workgroup memory.
// Planted: the tile has no room for what lies to its right.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

const BLOCK: u32 = 64u;
const WIDTH: u32 = BLOCK;
var<workgroup> tile: array<f32, WIDTH>;

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let base = wg.x * BLOCK;
    for (var i = lane; i < WIDTH; i += BLOCK) {
        tile[i] = x[base + i];
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var tap = 0u; tap < 3u; tap++) {
        sum += tile[lane + tap]; // finds: out-of-bounds
    }
    y[base + lane] = sum;
}

// The row and column of each element of a matrix that is 12 wide.
// Mended: whole numbers are divided.

@group(0) @binding(0) var<storage, read_write> at: array<vec2<u32>>;

const WIDTH: u32 = 12u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x / WIDTH;
    at[id.x] = vec2<u32>(row, id.x - row * WIDTH);
}

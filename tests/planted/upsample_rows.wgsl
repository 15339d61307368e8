// An image of 8 by 8 at twice the size: each invocation writes two pixels of a row.
// Planted: the last column of odd rows is left out.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

const SIDE: u32 = 8u;

fn put(row: u32, column: u32, value: f32) {
    y[row * 2u * SIDE + column] = value; // finds: never-written
}

@compute @workgroup_size(8, 8)
fn main(@builtin(local_invocation_id) at: vec3<u32>) {
    let value = x[at.y * SIDE + at.x];
    put(2u * at.y, 2u * at.x, value);
    put(2u * at.y, 2u * at.x + 1u, value);
    if at.x < SIDE - 1u {
        put(2u * at.y + 1u, 2u * at.x, value);
        put(2u * at.y + 1u, 2u * at.x + 1u, value);
    }
}

// Rows of 63 elements doubled, one workgroup of 64 lanes a row.
// Planted: the last lane of a workgroup writes the first element of the next row.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

const WIDTH: u32 = 63u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) row: vec3<u32>,
    @builtin(local_invocation_index) column: u32,
) {
    let i = row.x * WIDTH + column;
    y[i] = 2.0 * x[i] + f32(row.x); // finds: race-dispatch
}

// Rows of a table picked by a list of numbers, as an embedding does.
// Planted: a number that names no row reads past the table, and what is read is used.

@group(0) @binding(0) var<storage, read> rows: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

const WIDTH: u32 = 8u;

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(local_invocation_index) column: u32,
) {
    let row = rows[wg.x];
    y[wg.x * WIDTH + column] = table[row * WIDTH + column]; // finds: out-of-bounds
}

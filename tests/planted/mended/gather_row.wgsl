// Rows of a table picked by a list of numbers, as an embedding does.
// Mended: such a number gives a row of zeros.

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
    if row >= arrayLength(&table) / WIDTH {
        y[wg.x * WIDTH + column] = 0.0;
        return;
    }
    y[wg.x * WIDTH + column] = table[row * WIDTH + column];
}

// The transpose of a matrix of 32 by 32, tile by tile.
// Planted: no barrier between filling the tile and reading it across.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

const SIDE: u32 = 32u;
const TILE: u32 = 8u;
var<workgroup> tile: array<array<f32, 9>, 8>;

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(local_invocation_id) at: vec3<u32>,
) {
    tile[at.y][at.x] = x[(wg.y * TILE + at.y) * SIDE + wg.x * TILE + at.x];
    let moved = (wg.x * TILE + at.y) * SIDE + wg.y * TILE + at.x;
    y[moved] = tile[at.x][at.y]; // finds: race-workgroup
}

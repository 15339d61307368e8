// On which side of a line from the origin a point lies: 0 on it, 1 left, 2 right.
// Planted: two equal products are subtracted, and a device may round one of them and not the other.

@group(0) @binding(0) var<storage, read> points: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> side: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    let p = points[i];
    let q = 2.0 * p;
    let cross = p.x * q.y - p.y * q.x;
    var answer = 0u;
    if cross > 0.0 {
        answer = 1u;
    } else if cross < 0.0 {
        answer = 2u;
    }
    side[i] = answer; // finds: differs
}

// On which side of a line from the origin a point lies: 0 on it, 1 left, 2 right.
// Mended: the products are whole numbers.

@group(0) @binding(0) var<storage, read> points: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> side: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    let p = vec2<i32>(round(points[i] * 1024.0));
    let q = 2 * p;
    let cross = p.x * q.y - p.y * q.x;
    var answer = 0u;
    if cross > 0 {
        answer = 1u;
    } else if cross < 0 {
        answer = 2u;
    }
    side[i] = answer;
}

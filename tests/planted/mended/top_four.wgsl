// The four largest of each row of 16 elements, kept sorted in a small array.
// Mended: such a value is dropped.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> tops: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) row: u32) {
    var best = array<f32, 4>(-1e9, -1e9, -1e9, -1e9);
    for (var column = 0u; column < 16u; column++) {
        let value = x[row * 16u + column];
        var place = 0u;
        while place < 4u {
            if value > best[place] {
                break;
            }
            place++;
        }
        for (var i = 3u; i > place; i--) {
            best[i] = best[i - 1u];
        }
        if place < 4u {
            best[place] = value;
        }
    }
    for (var i = 0u; i < 4u; i++) {
        tops[row * 4u + i] = best[i];
    }
}

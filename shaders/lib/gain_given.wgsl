// Rows of x by their root mean square, times a gain for each element along K: the norm is a factor of every sum
// over K, so that only its own sum of squares is one more.

alias gain_group = vec4<f32>; // knob: four elements of gain
@group(0) @binding(0) var<storage, read> gain: array<gain_group>;
const EPS: f32 = 1e-5; // knob: what is added to the mean of squares

var<workgroup> row_squares: array<f32, PARTS * ROWS>;

fn gained4(x4: vec4<f32>, k4: u32) -> vec4<f32> {
    return x4 * load4_gain(p.gain_offset + k4);
}

// What a part has found of a row: all lanes have the same.
fn keep_squares(lane: u32, at: u32, squares: f32) {
    if lane == 0u {
        row_squares[at] = squares;
    }
}

fn norm_of(row: u32) -> f32 {
    var total = 0.0;
    for (var q = 0u; q < PARTS; q++) {
        total += row_squares[q * ROWS + row];
    }
    return inverseSqrt(total / f32(p.K) + EPS);
}

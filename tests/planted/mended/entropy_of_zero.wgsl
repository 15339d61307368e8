// The entropy of rows of eight probabilities.
// Mended: a probability of zero adds nothing.

@group(0) @binding(0) var<storage, read> p: array<f32>;
@group(0) @binding(1) var<storage, read_write> entropy: array<f32>;

@compute @workgroup_size(16)
fn main(@builtin(local_invocation_index) row: u32) {
    var sum = 0.0;
    for (var i = 0u; i < 8u; i++) {
        let share = p[row * 8u + i];
        if share > 0.0 {
            sum -= share * log(share);
        }
    }
    entropy[row] = sum;
}

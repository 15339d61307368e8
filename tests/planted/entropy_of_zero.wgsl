// The entropy of rows of eight probabilities.
// Planted: the logarithm of a probability of zero.

@group(0) @binding(0) var<storage, read> p: array<f32>;
@group(0) @binding(1) var<storage, read_write> entropy: array<f32>;

@compute @workgroup_size(16)
fn main(@builtin(local_invocation_index) row: u32) {
    var sum = 0.0;
    for (var i = 0u; i < 8u; i++) {
        let share = p[row * 8u + i];
        sum -= share * log(share); // finds: nonfinite
    }
    entropy[row] = sum;
}

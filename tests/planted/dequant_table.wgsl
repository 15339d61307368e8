// Weights of 4 bits, eight to a word, each naming one of 16 values.
// Planted: the fourth bits of the next weight are left in the number that names the value.

@group(0) @binding(0) var<storage, read> table: array<f32, 16>;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let code = (words[i / 8u] >> (i % 8u * 4u)) & 31u;
    y[i] = table[code]; // finds: out-of-bounds
}

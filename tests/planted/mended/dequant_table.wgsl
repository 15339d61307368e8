// Weights of 4 bits, eight to a word, each naming one of 16 values.
// Mended: only four bits are left.

@group(0) @binding(0) var<storage, read> table: array<f32, 16>;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let code = (words[i / 8u] >> (i % 8u * 4u)) & 15u;
    y[i] = table[code];
}

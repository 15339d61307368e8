// What an f32 drops of products of whole numbers.
// Mended: whole numbers are multiplied as such, and the bits past the 24th are dropped.

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> lost: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let product = a[i] * b[i];
    let spare = 8u - min(countLeadingZeros(product), 8u);
    lost[i] = f32(product & ((1u << spare) - 1u));
}

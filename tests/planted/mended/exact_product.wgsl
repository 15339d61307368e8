// Which products of whole numbers an f32 holds exactly.
// Mended: whole numbers are multiplied as such, and the bits past the 24th decide.

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> exact: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let product = a[i] * b[i];
    let bits = 32u - countLeadingZeros(product) - countTrailingZeros(product);
    exact[i] = u32(bits <= 24u);
}

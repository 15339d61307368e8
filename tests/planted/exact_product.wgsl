// What an f32 drops of products of whole numbers.
// Planted: fma is taken to round once; it may be a product and a sum.

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> lost: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let x = f32(a[i]);
    let y = f32(b[i]);
    let product = x * y;
    lost[i] = fma(x, y, -product); // finds: differs
}

// Which products of whole numbers an f32 holds exactly.
// Planted: fma is taken to round once; it may be a product and a sum, and then every product seems exact.

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> exact: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let x = f32(a[i]);
    let y = f32(b[i]);
    let lost = fma(x, y, -(x * y));
    exact[i] = u32(lost == 0.0); // finds: differs
}

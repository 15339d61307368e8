// Which elements repeat the one before them, at the precision of f16.
// Mended: whole steps of 1/64 are compared.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> same: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let before = i32(x[i] * 64.0);
    let now = i32(x[i + 1u] * 64.0);
    same[i] = select(0u, 1u, before == now);
}

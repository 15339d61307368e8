// Which elements repeat the one before them, at the precision of f16.
// Planted: a value that f16 does not hold may be rounded either way, and the words are compared.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> same: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let before = pack2x16float(vec2<f32>(x[i], 0.0));
    let now = pack2x16float(vec2<f32>(x[i + 1u], 0.0));
    same[i] = select(0u, 1u, before == now); // finds: differs
}

// Products packed as two f16 to a word.
// Planted: a product above 65504 has no f16.

@group(0) @binding(0) var<storage, read> x: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> words: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    let square = x[i] * x[i];
    words[i] = pack2x16float(square); // finds: f16-overflow
}

// How many bits each number needs.
// Planted: the logarithm of a power of two may lie below the whole number it should be.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> bits: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let power = floor(log2(f32(x[i])));
    bits[i] = u32(power) + 1u; // finds: differs
}

// How many bits each number needs.
// Mended: leading zeros are counted.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> bits: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    bits[i] = 32u - countLeadingZeros(x[i]);
}

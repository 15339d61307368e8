// Signed bytes packed two to a word of 16 bits each.
// Planted: the number of words is rounded down, and the odd last element gets none.

@group(0) @binding(0) var<storage, read> x: array<i32>;
@group(0) @binding(1) var<storage, read_write> words: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    let n = arrayLength(&x);
    if i < n / 2u {
        let low = u32(x[2u * i]) & 0xffffu;
        let high = u32(x[2u * i + 1u]) << 16u;
        words[i] = high | low; // finds: never-written
    }
}

// A mask of the lowest n bits.
// Mended: a mask of 32 bits is made apart.

@group(0) @binding(0) var<storage, read> n: array<u32>;
@group(0) @binding(1) var<storage, read_write> masks: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    var mask = 0xffffffffu;
    if n[i] < 32u {
        mask = (1u << n[i]) - 1u;
    }
    masks[i] = mask;
}

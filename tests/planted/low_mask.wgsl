// A mask of the lowest n bits.
// Planted: one is shifted by 32, which WGSL takes for a shift by none.

@group(0) @binding(0) var<storage, read> n: array<u32>;
@group(0) @binding(1) var<storage, read_write> masks: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    var mask = 0xffffffffu;
    mask = (1u << n[i]) - 1u; // warns: shift-width
    masks[i] = mask;
}

// Sequence b has lengths[b] keys, and never more than there are.

@group(0) @binding(0) var<storage, read> lengths: array<u32>;

fn kv_length(b: u32) -> u32 {
    return min(lengths[p.lengths_offset + b], p.T);
}

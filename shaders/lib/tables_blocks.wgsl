// Rows of one table of blocks. They lie as the weights of a matmul do: a row of the table is a column there, and
// what reads those is linked in with other names. An index past the end gives zeros.

@group(0) @binding(0) var<storage, read> idx0: array<u32>;
@group(0) @binding(1) var<storage, read> table0: array<u32>;
const BLOCK4: u32 = 8u; // knob: groups of four in a block that shares a scale

fn rows4(r: u32, c4: u32) -> vec4<f32> {
    let row0 = idx0[p.idx0_offset + r] - p.table0_first;
    if row0 >= p.V0 {
        return vec4<f32>(0.0);
    }
    return load_w(w_column(0u, row0) + c4 * w_step(row0), block_of(c4 / BLOCK4, row0, 0u));
}

fn owns(r: u32) -> bool {
    return has(idx0[p.idx0_offset + r], p.table0_first, p.V0, p.table0_whole);
}

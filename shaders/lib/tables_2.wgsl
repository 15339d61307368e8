// Rows of two tables, summed. An index past the end of its table gives zeros.

@group(0) @binding(0) var<storage, read> idx0: array<u32>;
@group(0) @binding(1) var<storage, read> table0: array<table0_group>;
@group(0) @binding(2) var<storage, read> idx1: array<u32>;
@group(0) @binding(3) var<storage, read> table1: array<table1_group>;
alias table0_group = vec4<f32>; // knob: four elements of table0
alias table1_group = vec4<f32>; // knob: four elements of table1

fn rows4(r: u32, c4: u32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    let row0 = idx0[p.idx0_offset + r] - p.table0_first;
    if row0 < p.V0 {
        sum += load4_table0(p.table0_offset + row0 * p.table0_V + c4);
    }
    let row1 = idx1[p.idx1_offset + r] - p.table1_first;
    if row1 < p.V1 {
        sum += load4_table1(p.table1_offset + row1 * p.table1_V + c4);
    }
    return sum;
}

fn owns(r: u32) -> bool {
    return has(idx0[p.idx0_offset + r], p.table0_first, p.V0, p.table0_whole)
        && has(idx1[p.idx1_offset + r], p.table1_first, p.V1, p.table1_whole);
}

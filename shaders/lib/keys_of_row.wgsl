// The candidates of lib/select.wgsl where they are the elements of a row of x: SMALLEST says which come first.

// The first group of the row.
var<private> row_start: u32;

fn begin_row(r: u32) {
    row_start = p.x_offset + r * p.x_R;
}

fn keys4(g: u32) -> vec4<u32> {
    let keys = order4(load4_x(row_start + g));
    return select(vec4<u32>(0u), select(keys, ~keys, SMALLEST), places4(g) < vec4<u32>(p.C));
}

fn places4(g: u32) -> vec4<u32> {
    return vec4<u32>(0u, 1u, 2u, 3u) + g * 4u;
}

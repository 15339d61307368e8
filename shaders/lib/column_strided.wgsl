// Where column n of the weights begins: what a call gives lies in strides.

const PADDED: bool = false; // what follows the last of K is anything

fn w_column(b: u32, n: u32) -> u32 {
    return p.w_offset + b * p.w_B + n * p.w_N;
}

// How far apart groups along K are.
fn w_step(n: u32) -> u32 {
    return p.w_K;
}

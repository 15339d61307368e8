// Where column n of the weights begins: what a call gives lies in strides. Groups along K are w_K apart.

const PADDED: bool = false; // what follows the last of K is anything

fn w_column(b: u32, n: u32) -> u32 {
    return p.w_offset + b * p.w_B + n * p.w_N;
}

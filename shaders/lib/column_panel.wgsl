// Where column n of the weights begins. They lie in panels of columns, in each of which all columns lie side
// by side for one group along K, then for the next: groups along K are w_K apart, a panel's width.

const PANEL: u32 = 128u; // columns
const PADDED: bool = true; // K to groups of four, with zeros

fn w_column(b: u32, n: u32) -> u32 {
    return n / PANEL * ((p.K + 3u) / 4u) * p.w_K + n % PANEL;
}

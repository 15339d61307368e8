// Where column n of the weights begins. They lie in panels of columns, in each of which all columns lie side
// by side for one group along K, then for the next. The last panel is as wide as there are columns left.

const PANEL: u32 = 128u; // columns
const PADDED: bool = true; // K to groups of four, with zeros

fn w_column(b: u32, n: u32) -> u32 {
    return n / PANEL * PANEL * ((p.K + 3u) / 4u) + n % PANEL;
}

// How far apart groups along K are: as many as the panel has columns. The same for all columns of a panel.
fn w_step(n: u32) -> u32 {
    return min(p.N - n / PANEL * PANEL, PANEL);
}

// The rows of all sequences begin at p.start.

fn first_row(b: u32) -> u32 {
    return p.start;
}

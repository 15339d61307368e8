// The rows of sequence b begin where its row of `pages` does, and at p.start behind that.

fn first_row(b: u32) -> u32 {
    return pages[p.pages_offset + b * p.N] + p.start;
}

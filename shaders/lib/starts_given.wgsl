// The rows of sequence b begin at starts[b], and at p.start behind that.

@group(0) @binding(0) var<storage, read> starts: array<u32>;

fn first_row(b: u32) -> u32 {
    return starts[p.starts_offset + b] + p.start;
}
